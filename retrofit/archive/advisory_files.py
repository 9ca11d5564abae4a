"""Records of OSV in files, directories, zip files and at addresses, read within limits."""

from __future__ import annotations

import lzma
import os
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from retrofit.archive.advisories import Matcher
from retrofit.system.escape import escaped

LARGEST_RECORD = 16 << 20
"""Bytes of a file of records that is not a zip file's, or of one in it."""
LARGEST_ALL = 16 << 30
"""Bytes of all records: those of a release of Ubuntu have some gigabytes."""
MOST_FILES = 1_000_000
LIMIT = 300.0
"""Seconds for all records."""
ENDINGS = (".json", ".zip")
UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, ArithmeticError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)
"""What Python's zipfile raises for files of others: a part of it, besides BadZipFile, comes from
its decompressors, and a RuntimeError from a password. Its documentation names no more than two."""


class AdvisoryError(Exception):
    """A source of advisories that cannot be read; what was read of it counts."""


def state_of(path: Path) -> list[tuple[str, int, int]]:
    """Return what tells whether a file or directory has changed. Raises AdvisoryError."""
    return [(str(each), found.st_size, found.st_mtime_ns) for each, found in _files(path)]


def read_all(path: Path, matcher: Matcher) -> int:
    """Let a matcher read all records of a file or directory; return how many were no records.

    Raises AdvisoryError for one that cannot be read at all, or exceeds the limits.
    """
    budget = _Budget()
    damaged = 0
    for file, _ in _files(path):
        for data in _contents(file, budget):
            try:
                matcher.read(data)
            except ValueError:
                damaged += 1
    return damaged


class _Budget:
    """Bytes and seconds that are left."""

    def __init__(self) -> None:
        self._bytes, self._until = LARGEST_ALL, time.monotonic() + LIMIT

    def take(self, amount: int) -> None:
        self._bytes -= amount
        if self._bytes < 0:
            raise AdvisoryError(f"the records have more than {LARGEST_ALL >> 30} GiB")
        if time.monotonic() > self._until:
            raise AdvisoryError(f"the records cannot be read within {LIMIT:g} s")


def _files(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Return the files of a directory whose names are those of records, or the file itself."""
    try:
        if not path.is_dir():
            yield path, _regular(path)
            return
        count = 0
        for directory, below, names in os.walk(path):
            below.sort()
            for name in sorted(names):
                file = Path(directory, name)
                if name.lower().endswith(ENDINGS) and stat.S_ISREG(file.stat().st_mode):
                    count += 1
                    if count > MOST_FILES:
                        raise AdvisoryError(f"{_shown(path)} has more than {MOST_FILES} files")
                    yield file, file.stat()
    except OSError as error:
        raise AdvisoryError(f"{_shown(path)} cannot be read: {error.strerror}") from error


def _regular(path: Path) -> os.stat_result:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise AdvisoryError(f"{_shown(path)} is not a file")
    return found


def _contents(file: Path, budget: _Budget) -> Iterator[bytes]:
    """Yield the records of a file. Raises AdvisoryError."""
    try:
        yield from _records(file, budget)
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AdvisoryError(f"{_shown(file)} cannot be read: {escaped(reason)}") from error


def _records(file: Path, budget: _Budget) -> Iterator[bytes]:
    with file.open("rb") as opened:
        if opened.read(4) != b"PK\x03\x04":
            opened.seek(0)
            data = opened.read(LARGEST_RECORD + 1)
            budget.take(len(data))
            if len(data) > LARGEST_RECORD:
                raise AdvisoryError(
                    f"{_shown(file)} has more than {LARGEST_RECORD >> 20} MiB, and is no zip file"
                )
            yield data
            return
        with zipfile.ZipFile(opened) as archive:
            members = archive.infolist()
            if len(members) > MOST_FILES:
                raise AdvisoryError(f"{_shown(file)} has more than {MOST_FILES} files")
            for member in members:
                if member.is_dir() or not member.filename.lower().endswith(".json"):
                    continue
                with archive.open(member) as content:
                    # What a member says of its size is a claim.
                    data = content.read(LARGEST_RECORD + 1)
                budget.take(len(data))
                if len(data) > LARGEST_RECORD:
                    raise AdvisoryError(
                        f"a record in {_shown(file)} has more than {LARGEST_RECORD >> 20} MiB"
                    )
                yield data


def _shown(path: Path) -> str:
    return escaped(str(path))[:200]
