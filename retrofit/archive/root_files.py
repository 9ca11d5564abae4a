"""Files of a private root: which user apt runs as there, and what that user can read and write."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from pathlib import Path

READABLE_BY_ALL = 0o755
USERS = ("_apt", "nobody")


def unprivileged(path: Path) -> tuple[int, int] | None:
    """Return the user and group to run apt as; None where we have no rights to give up.

    Also where that user would not get through to `path`: apt then runs as we do, and the sandbox
    leaves it no right but to these files. Our directories are for our group, so the group stays.
    """
    if os.geteuid() != 0:
        return None
    number = next((found for name in USERS if (found := _number(name)) is not None), None)
    if number is None:
        return None
    user = (number, path.stat().st_gid)
    return user if can_reach(path, *user) else None


def _number(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def can_reach(path: Path, user: int, group: int) -> bool:
    """Return True if a user gets through all directories on the way to a path."""
    directories = (path, *path.parents) if path.is_dir() else path.parents
    return all(_can_enter(each, user, group) for each in directories)


def _can_enter(directory: Path, user: int, group: int) -> bool:
    found = directory.stat()
    if found.st_uid == user:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == group:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def remove(path: Path) -> None:
    """Delete a file, a link, or a directory with all that is in it; none is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_own(path: Path, user: tuple[int, int] | None) -> bool:
    """Return True for a directory that belongs to the user, None being ourselves."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    owner = os.geteuid() if user is None else user[0]
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner


def own_directory(path: Path, user: tuple[int, int] | None) -> None:
    """Make a directory of apt's, empty."""
    remove(path)
    path.mkdir(mode=READABLE_BY_ALL, parents=True)
    if user is not None:
        os.chown(path, *user, follow_symlinks=False)


def make_readable(path: Path, *, below: Path) -> None:
    """Make a directory that every user can read, with its parents below another."""
    for directory in reversed([path, *path.parents]):
        if below in directory.parents and not directory.is_dir():
            directory.mkdir()
            directory.chmod(READABLE_BY_ALL)


def write_readable(path: Path, data: bytes) -> None:
    """Write a file that apt's user can read; a link in its place is replaced."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with part.open("xb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(data)
    part.replace(path)
