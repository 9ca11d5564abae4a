"""A cache of downloaded packages: each build gets copies, and copies of new packages are kept.

Programs of an image have root in its build, and may write anything to its package directory. So
no build writes where another reads, and a build does not trust the copies that it gets:
`stock-archive-lent` passes to apt only those that its own signed indexes list, byte for byte.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

LIMIT = 1024**3
"""Bytes of packages kept for all builds; the oldest are deleted first."""
MOST = 4000
"""Number of packages kept; a build needs a few hundred."""
LENT = "lent"
"""Directory below apt's archives; apt itself reads no directory there."""
PARTIAL = ".partial-"
PARTIALS = re.compile(rf"{re.escape(PARTIAL)}[0-9a-f]{{8}}")
# As apt names what it downloads: package, version, architecture.
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{0,127}_[A-Za-z0-9%.+~-]{1,255}_[a-z0-9-]{1,31}\.deb")

Lent = Mapping[str, int]
"""Name of a package that a build got -> inode of the copy."""


def lend_packages(kept: Path, archives: Path) -> Lent:
    """Copy the packages in `kept` to a build, which offers them to apt; failures are logged."""
    lent: dict[str, int] = {}
    try:
        (archives / LENT).mkdir(parents=True)
        for package in _packages(kept):
            copy = archives / LENT / package.name
            with suppress(FileNotFoundError):  # pruned meanwhile, for another build
                shutil.copyfile(package, copy)
                lent[package.name] = copy.stat().st_ino
    except OSError as error:
        log.warning("cached packages are not used", cache=str(kept), error=str(error))
    return lent


def keep_packages(archives: Path, kept: Path, lent: Lent) -> None:
    """Copy the packages that a build downloaded to `kept`, and prune `kept.parent` to its limit.

    Nothing in `archives` is trusted. Failures are logged.
    """
    left = LIMIT
    try:
        kept.mkdir(parents=True, exist_ok=True)
        for package in islice(_packages(archives), MOST):
            facts = package.lstat()
            if facts.st_size > left or facts.st_ino == lent.get(package.name):
                continue
            left -= facts.st_size
            _copy(package, kept / package.name)
        _prune(kept.parent)
    except OSError as error:
        log.warning("downloaded packages are not cached", cache=str(kept), error=str(error))


def _packages(directory: Path) -> Iterator[Path]:
    """Yield the regular files that have a package's name."""
    if directory.is_dir():
        with os.scandir(directory) as entries:
            for entry in entries:
                if PACKAGE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)


def _copy(package: Path, target: Path) -> None:
    partial = target.with_name(f"{PARTIAL}{secrets.token_hex(4)}")
    try:
        with (
            os.fdopen(
                os.open(package, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb"
            ) as source,
            partial.open("xb") as copy,
        ):
            if stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                shutil.copyfileobj(source, copy, 1 << 20)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _prune(directory: Path) -> None:
    """Delete packages beyond the limits, those with the oldest ctime first."""
    total = 0
    found = []
    for path in directory.glob("*/*"):
        ours = PACKAGE.fullmatch(path.name) or PARTIALS.fullmatch(path.name)
        with suppress(FileNotFoundError):
            facts = path.lstat()
            if ours and stat.S_ISREG(facts.st_mode):
                found.append((path, facts))
    newest_first = sorted(found, key=lambda one: one[1].st_ctime, reverse=True)
    for number, (path, facts) in enumerate(newest_first):
        total += facts.st_size
        if total > LIMIT or number >= MOST:
            path.unlink(missing_ok=True)
