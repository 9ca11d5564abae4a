"""Files that only root, or the calling user, may change: they decide what root runs or believes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from retrofit.errors import ConfigError

MOST_LINKS = 40
"""As many as Linux follows before ELOOP."""


def require_not_writable_by_others(path: Path, status: os.stat_result) -> None:
    """Raise ConfigError for a file that others may change or replace; `status` is of its fstat.

    The user who called sudo may own it. What is no regular file (/dev/stdin) is accepted.
    """
    if not stat.S_ISREG(status.st_mode):
        return
    _require(path, path, "it", _writers(status))
    for directory in _directories(path):
        try:
            writers = _writers(directory.stat())
        except OSError:
            continue  # gone, or not readable for us: what was opened lies elsewhere by now
        _require(path, directory, f"directory {directory} on its path", writers)


def require_tree_not_writable_by_others(directory: Path, *, most: int) -> None:
    """Raise ConfigError for a directory in which others may change or replace anything.

    Raises ValueError for one of more than `most` files.
    """
    for parent in _directories(directory):
        with suppress(OSError):
            status = parent.stat()
            _require(directory, parent, f"directory {parent} on its path", _writers(status))
    for number, path in enumerate(_tree(directory)):
        if number >= most:
            raise ValueError(f"{directory} holds more than {most} files")
        try:
            status = path.stat()
        except OSError:
            continue  # a link that leads nowhere runs nothing
        if path.is_symlink():
            require_not_writable_by_others(path, status)
        if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
            _require(path, path, "it", _writers(status))


def require_not_readable_by_others(path: Path, status: os.stat_result) -> None:
    """Raise ConfigError for a file with a secret that everybody, or a foreign group, may read."""
    if not stat.S_ISREG(status.st_mode):
        return
    readers = []
    if status.st_mode & stat.S_IROTH:
        readers.append("everybody may read {}")
    if status.st_mode & stat.S_IRGRP and status.st_gid not in {0, *os.getgroups(), os.getegid()}:
        readers.append(f"group {status.st_gid} may read {{}}")
    if readers:
        listed = ", and ".join(each.format("it") for each in readers)
        raise ConfigError(f"{path} is no secret: {listed}", hint=f"chmod go-rwx {path}")


def _tree(directory: Path) -> Iterator[Path]:
    """Yield a directory and all below it, but for what no program of a build reads."""
    yield directory
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(set(directories) - {".git", "__pycache__"})
        yield from (Path(parent) / name for name in (*directories, *names))


def _require(path: Path, culprit: Path, name: str, writers: Iterable[str]) -> None:
    listed = ", and ".join(each.format(name) for each in writers)
    if listed:
        raise ConfigError(
            f"{path} is not trusted: {listed}",
            hint=f"chown root:root {culprit}; chmod go-w {culprit}",
        )


def _writers(status: os.stat_result) -> Iterator[str]:
    """Yield who else may write to a file, or replace files of a directory; `{}` is its name."""
    is_directory = stat.S_ISDIR(status.st_mode)
    # In a sticky directory such as /tmp, everybody may make files and replace their own alone.
    shared = is_directory and status.st_mode & stat.S_ISVTX
    if status.st_mode & stat.S_IWOTH and not shared:
        yield "everybody may write to {}"
    if os.geteuid() != 0:
        return
    if status.st_uid != 0 and str(status.st_uid) != os.environ.get("SUDO_UID", ""):
        yield f"{{}} belongs to user {status.st_uid}"
    # Directories of one's own are often writable for one's own group, which has nobody else in it.
    own_group = is_directory and str(status.st_gid) == os.environ.get("SUDO_GID", "")
    if status.st_mode & stat.S_IWGRP and status.st_gid != 0 and not shared and not own_group:
        yield f"group {status.st_gid} may write to {{}}"


def _directories(path: Path) -> dict[Path, None]:
    """Return the directories on the way to a file, those on the way to its links included."""
    found: dict[Path, None] = {}
    here = path.absolute()
    for _ in range(MOST_LINKS):
        found |= dict.fromkeys((*here.parents, *here.resolve().parents))
        if not here.is_symlink():
            break
        here = here.parent / here.readlink()
    return found
