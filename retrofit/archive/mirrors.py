"""The mirrors of `[build]`, in place of the addresses that an image's sources have."""

from __future__ import annotations

import dataclasses
import runpy
from collections.abc import Callable, Sequence
from functools import cache

from retrofit.archive.evidence import CLOUD_ARCHIVE_SOURCES, SOURCES, SOURCES_PARTS
from retrofit.archive.offer import ArchiveError
from retrofit.archive.sources import URI, Entry, parse
from retrofit.config import BuildSettings
from retrofit.redaction import redacted
from retrofit.system.own_elements import own_elements

DISTRIBUTION = (
    f"{SOURCES},", f"{SOURCES_PARTS}/debian.sources,", f"{SOURCES_PARTS}/ubuntu.sources,",
)  # fmt: skip
"""Files whose addresses element stock-archive replaces, as `Entry.where` names them."""


def mirrored(entries: Sequence[Entry], build: BuildSettings) -> tuple[Entry, ...]:
    """Return the entries with the addresses that a build would use. Raises ArchiveError."""
    for name in ("archive_mirror", "security_mirror", "cloud_archive_mirror"):
        address = getattr(build, name)
        if address and URI.fullmatch(address) is None:
            raise ArchiveError(f"build.{name} is no address of http or https: {redacted(address)}")
    return tuple(_mirrored(entry, build) for entry in entries)


def _mirrored(entry: Entry, build: BuildSettings) -> Entry:
    if entry.where.startswith(f"{CLOUD_ARCHIVE_SOURCES},") and build.cloud_archive_mirror:
        return dataclasses.replace(entry, uris=(build.cloud_archive_mirror,))
    if not entry.where.startswith(DISTRIBUTION):
        return entry
    text = _rule()(entry.written(), build.archive_mirror or "", build.security_mirror or "")
    (changed,) = parse("mirrored.sources", text.encode())
    return dataclasses.replace(entry, uris=changed.uris)


@cache
def _rule() -> Callable[[str, str, str], str]:
    """Return the function by which a build does it, from the program that does it there."""
    program = own_elements() / "stock-archive" / "bin" / "stock-archive-mirror"
    rule: Callable[[str, str, str], str] = runpy.run_path(str(program))["deb822"]
    return rule
