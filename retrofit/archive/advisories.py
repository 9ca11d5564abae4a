"""Which known vulnerabilities an update fixes, by records of OSV; pure.

The form is OSV's (ossf.github.io/osv-schema). Records are data of others: what is not of that form
fixes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from retrofit.archive.offer import Update, UpdateKind
from retrofit.archive.versions import debian_order

CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,12}(?![0-9])", re.ASCII)
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,60}", re.ASCII)
INDEX = "PyPI"
MOST_IDS = 100
"""Ids of one update: a kernel's have some dozens."""
MOST_EVENTS = 1000
LEAST = "0"
"""Before all versions, where it is said of `introduced`."""

Order = Callable[[str], Any]


@dataclass(frozen=True, kw_only=True)
class Release:
    """The distribution of an image, by os-release: `ubuntu` and `24.04`."""

    id: str
    version: str

    def is_of(self, ecosystem: str) -> bool:
        """Return True for an ecosystem such as `Ubuntu:24.04:LTS`; Pro is another archive."""
        name, *parts = ecosystem.split(":")
        return name.lower() == self.id and self.version in parts and "Pro" not in parts


def release_of(os_release: bytes) -> Release:
    """Read an image's os-release; fields that it lacks are empty."""
    text = os_release.decode(errors="replace")
    found = dict(re.findall(r"(?m)^(ID|VERSION_ID)=[\"']?([A-Za-z0-9._-]+)[\"']?\s*$", text))
    return Release(id=found.get("ID", ""), version=found.get("VERSION_ID", ""))


class Matcher:
    """Collects the ids of what each of some updates fixes."""

    def __init__(self, updates: Iterable[Update], release: Release) -> None:
        """Prepare for records about these updates of an image."""
        self._updates = tuple(updates)
        self._release = release
        self._ids: dict[tuple[str, str], dict[str, None]] = {}
        names = {name for each in self._updates for name in (each.source, each.package)}
        quoted = "|".join(re.escape(name) for name in sorted(names))
        # Names of Python may be written in other ways: case, and the signs between words.
        loose = re.sub(r"\\?-", "[-_.]+", quoted)
        self._named = re.compile(rf'"(?:{loose})"'.encode(), re.IGNORECASE)

    def read(self, data: bytes) -> None:
        """Read a file of a record, of a list of them, or of an answer of OSV's API.

        Raises ValueError for what is no JSON. One that names no package of ours is not parsed.
        """
        if not self._updates or self._named.search(data) is None:
            return
        try:
            document: Any = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"no JSON: {error}") from error
        for record in _records(document):
            self._take(record)

    @property
    def found(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Return the ids by the keys of the updates that fix something."""
        return {key: tuple(sorted(ids)[:MOST_IDS]) for key, ids in self._ids.items()}

    def _take(self, record: Mapping[str, Any]) -> None:
        if record.get("withdrawn") is not None:
            return
        for entry in _mappings(record.get("affected")):
            package = entry.get("package")
            if not isinstance(package, Mapping):
                continue
            ecosystem, name = str(package.get("ecosystem")), str(package.get("name"))
            for update in self._updates:
                if _concerns(update, ecosystem, name, self._release) and _is_fixed(update, entry):
                    known = self._ids.setdefault(update.key, {})
                    known.update(dict.fromkeys(_ids(record)))


def with_ids(
    updates: Iterable[Update], ids: Mapping[tuple[str, str], tuple[str, ...]]
) -> Iterator[Update]:
    """Return updates with the ids of what they fix: whatever fixes something is a security fix."""
    for update in updates:
        found = ids.get(update.key, ())
        if not found:
            yield update
        elif update.kind in {UpdateKind.SECURITY, UpdateKind.OTHER}:
            yield replace(update, kind=UpdateKind.SECURITY, cves=found)
        else:
            yield replace(update, has_fix=True, cves=found)


def _records(document: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(document, Mapping) and "affected" not in document:
        document = document.get("vulns")
    yield from _mappings([document] if isinstance(document, Mapping) else document)


def _mappings(values: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(values, list):
        yield from (each for each in values if isinstance(each, Mapping))


def _texts(values: Any) -> Iterator[str]:
    if isinstance(values, list):
        yield from (each for each in values if isinstance(each, str))


def _concerns(update: Update, ecosystem: str, name: str, release: Release) -> bool:
    if update.kind is UpdateKind.AGENT:
        return ecosystem == INDEX and canonicalize_name(name) == update.package
    return release.is_of(ecosystem) and name == update.source


def _is_fixed(update: Update, entry: Mapping[str, Any]) -> bool:
    """Return True if the installed version is affected, and the candidate has the fix."""
    order = _python_order if update.kind is UpdateKind.AGENT else debian_order
    try:
        old = order(update.source_installed or update.installed)
        new = order(update.source_candidate or update.candidate)
        ranges = [_events(each, order) for each in _mappings(entry.get("ranges"))]
    except InvalidVersion:
        return False
    listed = update.installed in _texts(entry.get("versions"))
    was = listed or any(_is_affected(old, events) for events in ranges)
    if not was or any(_is_affected(new, events) for events in ranges):
        return False
    return any(
        (kind == "fixed" and old < version <= new)
        or (kind == "last_affected" and old <= version < new)
        for events in ranges
        for version, kind in events
    )


def _events(found: Mapping[str, Any], order: Order) -> list[tuple[Any, str]]:
    """Return a range's events in the order of their versions; those of commits are none."""
    if found.get("type") != "ECOSYSTEM":
        return []
    events = [
        (() if kind == "introduced" and version == LEAST else order(version), kind)
        for event in list(_mappings(found.get("events")))[:MOST_EVENTS]
        for kind, version in event.items()
        if isinstance(version, str) and kind in {"introduced", "fixed", "last_affected"}
    ]
    return sorted(events, key=lambda event: event[0])


def _is_affected(version: Any, events: Iterable[tuple[Any, str]]) -> bool:
    """Follow the events up to a version, as OSV's schema evaluates them."""
    affected = False
    for at, kind in events:
        if kind == "introduced" and version >= at:
            affected = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            affected = False
    return affected


def _python_order(version: str) -> tuple[Version]:
    return (Version(version),)


def _ids(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the CVE ids of a record; its own id where it has none."""
    own = str(record.get("id", ""))
    names = [own, *_texts(record.get("aliases")), *_texts(record.get("upstream"))]
    # Notices of fixes had them there before there was `upstream`.
    for texts in (names, list(_texts(record.get("related")))):
        cves = tuple(match[0] for text in texts if (match := CVE.search(text)) is not None)
        if cves:
            return cves
    return (own,) if IDENTIFIER.fullmatch(own) else ()
