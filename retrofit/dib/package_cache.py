"""What builds downloaded, kept from build to build: for one at a time, and not for ever."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from retrofit.dib.work_directory import remove

log = structlog.get_logger(__name__)

LIMIT = 2 * 1024**3
"""Bytes of downloaded packages that a build may find; the longest-kept go first."""
PYTHON_LIMIT = 1024**3
"""Bytes that a build may find in uv's cache; it takes a build of the agent some 100 MiB."""


@contextmanager
def package_cache(shared: Path, private: Path) -> Iterator[Path]:
    """Yield `shared`, or `private` while another build of this machine uses the shared one.

    apt locks its cache, and gives up at once where that is locked already.
    """
    try:
        shared.mkdir(parents=True, exist_ok=True)
        lock = (shared / "packages.lock").open("w")
    except OSError:
        yield shared  # the build itself says what is wrong with it
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            log.info("package cache in use by another build", cache=str(shared))
            yield private
            return
        _prune(shared / "dib")
        _empty_when_large(shared / "uv")
        yield shared


def _prune(directory: Path) -> None:
    """Delete packages beyond the limit; when one was downloaded is what its ctime says."""
    kept = 0
    found = [(path, path.lstat()) for path in directory.rglob("*.deb")]
    for path, facts in sorted(found, key=lambda one: one[1].st_ctime, reverse=True):
        kept += facts.st_size
        if kept > LIMIT:
            with suppress(OSError):
                path.unlink()


def _empty_when_large(directory: Path) -> None:
    """Delete uv's cache as a whole: its files belong together in ways that only uv knows."""
    size = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                size += (Path(root) / name).lstat().st_size
    if size > PYTHON_LIMIT:
        log.info("cache of Python packages emptied", cache=str(directory), size=size)
        remove(directory)
