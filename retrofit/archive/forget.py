"""Remove from a cache what checks of the archive left there, and no target needs any more."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

LOCK = ".lock"
"""File in a private root; who holds its lock uses the root."""
UNUSED_FOR = timedelta(days=90)
"""After how long without use a copy of evidence goes: Glance has it."""
EVIDENCE = ".tar.xz"


def forget_roots(archive: Path, targets: Collection[str]) -> tuple[str, ...]:
    """Remove the private roots of other targets than these, and return their names.

    `archive` is the directory with all of them. What has not the form of a private root of ours
    stays, and so does one that somebody uses. One that cannot be removed keeps none of the others:
    the next call tries it again. Raises OSError where `archive` cannot be read.
    """
    removed = []
    for directory in _entries(archive):
        if directory.name in targets or not _is_root(directory):
            continue
        with suppress(OSError), _held(directory) as held:
            if held:
                _remove(directory)
                removed.append(directory.name)
    return tuple(removed)


def forget_evidence(directory: Path) -> None:
    """Remove the copies of evidence that were not used for long.

    One that cannot be removed keeps none of the others. Raises OSError where the directory cannot
    be read.
    """
    before = time.time() - UNUSED_FOR.total_seconds()
    for file in _entries(directory):
        with suppress(OSError):
            found = file.lstat()
            is_copy = stat.S_ISREG(found.st_mode) and file.name.endswith(EVIDENCE)
            if is_copy and found.st_uid == os.geteuid() and found.st_mtime < before:
                file.unlink(missing_ok=True)


def _remove(directory: Path) -> None:
    """Remove a root, its lock last: a later call knows it by that. Raises OSError."""
    for entry in directory.iterdir():
        if entry.name == LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink()
    left = [entry.name for entry in directory.iterdir() if entry.name != LOCK]
    if left:
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(directory))
    (directory / LOCK).unlink()
    directory.rmdir()


def _entries(directory: Path) -> list[Path]:
    if directory.is_symlink() or not directory.is_dir():
        return []
    return sorted(directory.iterdir())


def _is_root(directory: Path) -> bool:
    with suppress(OSError):
        found, lock = directory.lstat(), (directory / LOCK).lstat()
        ours = found.st_uid == lock.st_uid == os.geteuid()
        return ours and stat.S_ISDIR(found.st_mode) and stat.S_ISREG(lock.st_mode)
    return False


@contextmanager
def _held(directory: Path) -> Iterator[bool]:
    """Hold a root's lock for the length of the block, unless somebody else does."""
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)
