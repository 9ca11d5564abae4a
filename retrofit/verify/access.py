"""Whether a user of the image may run a file of it, by owner, group and mode as the kernel asks.

Access lists and security modules are left out: a boot tries those.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from retrofit.verify.tree import Tree

READ, RUN = 4, 1


@dataclass(frozen=True, kw_only=True)
class User:
    """A user of the image that is not root, with its only group (None: one that is not there)."""

    name: str
    uid: int
    gid: int | None


def user_of(tree: Tree, name: str, *, group: str) -> User | None:
    """Return a user by the image's /etc/passwd and /etc/group; None where there is none."""
    uid = _number(tree, "/etc/passwd", name)
    return None if uid is None else User(name=name, uid=uid, gid=_number(tree, "/etc/group", group))


def _number(tree: Tree, path: str, name: str) -> int | None:
    for line in (tree.text(path) or "").splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) > 2 and fields[2].isascii() and fields[2].isdigit():
            return int(fields[2])
    return None


def why_not_run(tree: Tree, path: str, user: User) -> str | None:
    """Return why a user may not run the script at `path`; None where it may.

    A script is read by its interpreter, so that it needs both bits; every directory on the way to
    it has to be one that the user may enter.
    """
    for directory in _directories(tree, path):
        if not _may(directory, user, RUN):
            return f"user {user.name} may not enter {_inside(tree, directory)}"
    found = tree.resolve(path)
    if found is None or not found.is_file():
        return "not a file"
    if not _may(found, user, READ | RUN):
        return f"user {user.name} may not run {_inside(tree, found)}"
    return None


def _directories(tree: Tree, path: str) -> list[Path]:
    """Return the directories on the way to a path, the root first, those behind links too."""
    ends = (tree.resolve(str(each)) for each in (*reversed(PurePosixPath(path).parents), path))
    found: dict[Path, None] = {}
    for end in ends:
        if end is not None:
            way = (*reversed(end.parents), end) if end.is_dir() else reversed(end.parents)
            found |= dict.fromkeys(each for each in way if each.is_relative_to(tree.root))
    return list(found)


def _may(path: Path, user: User, bits: int) -> bool:
    facts = path.stat()
    mode = stat.S_IMODE(facts.st_mode)
    if facts.st_uid == user.uid:
        mode >>= 6
    elif facts.st_gid == user.gid:
        mode >>= 3
    return mode & bits == bits


def _inside(tree: Tree, path: Path) -> str:
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"/{path.relative_to(tree.root)} (mode {mode:04o})".replace("/. ", "/ ")
