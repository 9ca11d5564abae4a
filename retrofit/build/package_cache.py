"""Packages that builds downloaded: each build gets copies, and copies of what is new are kept.

Programs of an image have root in its build, and may write anything where its packages are. So no
build writes where another reads, and what is lent is no more than an offer: `stock-archive-lent`
gives to apt only what the build's own indexes, which are signed, list byte for byte.
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
"""Bytes of packages that are kept of all builds; the longest-kept go first."""
MOST = 4000
"""How many packages that are; a build takes some hundred."""
LENT = "lent"
"""Directory below apt's archives: apt itself looks at none."""
PARTIAL = ".partial-"
# As apt names what it downloads: package, version, architecture.
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{0,127}_[A-Za-z0-9%.+~-]{1,255}_[a-z0-9-]{1,31}\.deb")

Lent = Mapping[str, int]
"""Name of a package that was lent -> inode of the copy."""


def lend(kept: Path, archives: Path) -> Lent:
    """Copy the packages in `kept` to where a build offers them to apt; what fails is logged."""
    lent: dict[str, int] = {}
    try:
        (archives / LENT).mkdir(parents=True)
        for package in _packages(kept):
            copy = archives / LENT / package.name
            with suppress(FileNotFoundError):  # pruned meanwhile, for another build
                shutil.copyfile(package, copy)
                lent[package.name] = copy.stat().st_ino
    except OSError as error:
        log.warning("packages of earlier builds not lent", cache=str(kept), error=str(error))
    return lent


def keep(archives: Path, kept: Path, lent: Lent) -> None:
    """Copy what a build downloaded into `kept`, and bound what `kept.parent` holds.

    Nothing in `archives` is to be trusted. What fails is logged.
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
        log.warning("downloaded packages not kept", cache=str(kept), error=str(error))


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
    """Delete packages beyond the limit; since when one is kept is what its ctime says."""
    total = 0
    found = []
    for path in directory.glob("*/*"):
        with suppress(FileNotFoundError):
            found.append((path, path.lstat()))
    newest_first = sorted(found, key=lambda one: one[1].st_ctime, reverse=True)
    for number, (path, facts) in enumerate(newest_first):
        total += facts.st_size
        if total > LIMIT or number >= MOST:
            path.unlink(missing_ok=True)
