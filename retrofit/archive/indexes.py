"""apt's copies of the archive's indexes: what they are of, how old, and whether they are whole."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from retrofit.archive.offer import ArchiveError

ENDINGS = ("_InRelease", "_Release")
LARGEST = 4 << 20
"""Bytes of an index of indexes: Debian's have about 200 kB."""
NOT_INDEXES = frozenset({"lock", "partial", "auxfiles"})


@dataclass(frozen=True, kw_only=True)
class Index:
    """What a suite's InRelease, whose signature apt has verified, states of itself."""

    name: str
    """File name of apt's copy."""
    suite: str
    date: datetime | None
    is_security: bool
    digest: str


def parse_index(name: str, data: bytes) -> Index:
    """Return what an InRelease or Release states; pure."""
    text = data.decode(errors="replace")
    fields = {
        key.lower(): value.strip()
        for key, value in re.findall(r"(?m)^([A-Za-z][A-Za-z-]{0,30}):[ \t]+(.*)$", text)
    }
    suite = fields.get("suite") or fields.get("codename") or name
    named = (fields.get("suite", ""), fields.get("codename", ""))
    return Index(
        name=name,
        suite=suite[:100],
        date=read_date(fields.get("date", "")),
        is_security=fields.get("label") == "Debian-Security"
        or any(each.endswith("-security") for each in named),
        digest=hashlib.sha256(data).hexdigest(),
    )


def read_date(text: str) -> datetime | None:
    """Return a `Date:` as indexes have it; None for anything else."""
    try:
        when = parsedate_to_datetime(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def read_indexes(lists: Path) -> tuple[Index, ...]:
    """Return the indexes that apt has. Raises ArchiveError where there is none, OSError."""
    found = tuple(
        parse_index(file.name, _content(file, LARGEST))
        for file in sorted(lists.iterdir())
        if file.name.endswith(ENDINGS)
    )
    if not found:
        raise ArchiveError("apt has no index of the image's sources")
    for index in found:
        if index.date is None:
            raise ArchiveError(f"the index of {index.suite} has no date")
    return found


def digest_of_lists(lists: Path) -> str:
    """Return a digest of all that apt keeps: it does not look again at what it has. OSError."""
    whole = hashlib.sha256()
    for file in sorted(lists.iterdir()) if lists.is_dir() else []:
        if file.name in NOT_INDEXES:
            continue
        whole.update(f"{file.name}\0".encode(errors="surrogateescape"))
        descriptor = _opened(file)
        with os.fdopen(descriptor, "rb") as opened:
            whole.update(hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()


def older_than_seen(indexes: tuple[Index, ...], seen: Mapping[str, datetime]) -> Index | None:
    """Return the first index that is older than one of its name that was seen before."""
    for index in indexes:
        if index.date is not None and index.name in seen and index.date < seen[index.name]:
            return index
    return None


def newest(indexes: tuple[Index, ...]) -> datetime | None:
    """Return the newest date of the security suites; of all where there is no security suite."""
    security = [index for index in indexes if index.is_security]
    return max((i.date for i in security or indexes if i.date is not None), default=None)


def _content(file: Path, largest: int) -> bytes:
    with os.fdopen(_opened(file), "rb") as opened:
        data = opened.read(largest + 1)
    if len(data) > largest:
        raise ArchiveError(f"{file.name} has more than {largest >> 20} MiB")
    return data


def _opened(file: Path) -> int:
    """Open a file of a directory that apt's user owns: no link, and nothing that would wait."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{file} is not a file")
    return descriptor
