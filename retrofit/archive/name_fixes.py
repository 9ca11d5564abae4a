"""Put the CVE ids of configured advisories to what the archive offers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from retrofit.archive.advisories import Matcher, release_of, with_ids
from retrofit.archive.advisory_files import AdvisoryError, read_all, state_of
from retrofit.archive.evidence import OS_RELEASE, Evidence
from retrofit.archive.fetch import fetched, forget_others, kept_before
from retrofit.archive.last_check import LastCheck
from retrofit.archive.offer import Offer
from retrofit.archive.private_root import PrivateRoot
from retrofit.config import BuildSettings
from retrofit.redaction import redacted

DIRECTORY = "advisories"
"""Directory in a private root with what was fetched; apt does not write there."""


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What was found of the offer in all advisories, and what could not be read."""

    ids: dict[tuple[str, str], tuple[str, ...]]
    warnings: tuple[str, ...]


def name_fixes(
    offer: Offer,
    last: LastCheck,
    evidence: Evidence,
    private: PrivateRoot,
    *,
    advisories: Sequence[str],
    build: BuildSettings,
) -> tuple[Offer, LastCheck]:
    """Return an offer with the ids of what it fixes, and the record for the next check.

    Files that have not changed are not read again for the same offer. What cannot be read is a
    warning: the packages are known without it. What was fetched from an address that is not
    configured any more is deleted.
    """
    with suppress(OSError):  # it costs space alone
        forget_others((each for each in advisories if "://" in each), private.path / DIRECTORY)
    if not advisories or not offer.updates:
        return offer, last
    warnings: list[str] = []
    paths = [path for each in advisories for path in _path_of(each, private, build, warnings)]
    release = release_of(evidence.files.get(OS_RELEASE, b""))
    try:
        states = [state_of(path) for path in paths]
    except AdvisoryError:
        states = []  # what is wrong is reported below
    versions = [
        [*each.key, each.installed, each.source_installed, each.source_candidate]
        for each in offer.updates
    ]
    asked = [states, versions, release.id, release.version]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    if key != last.advisories_key or not states:
        found = _read(paths, Matcher(offer.updates, release))
        last = last.model_copy(
            update={
                "advisories_key": "" if found.warnings else key,
                "ids": tuple((*key, ids) for key, ids in sorted(found.ids.items())),
            }
        )
        warnings += found.warnings
    ids = {(package, candidate): found for package, candidate, found in last.ids}
    named = tuple(with_ids(offer.updates, ids))
    return replace(offer, updates=named, warnings=(*offer.warnings, *warnings)), last


def _path_of(
    source: str, private: PrivateRoot, build: BuildSettings, warnings: list[str]
) -> list[Path]:
    """Return the file or directory of a setting's word; of an address, what was fetched."""
    if "://" not in source:
        return [Path(source)]
    directory = private.path / DIRECTORY
    authorities = None if build.ca_bundle is None else private.authorities
    try:
        return [fetched(source, directory, build, authorities)]
    except AdvisoryError as error:
        before = kept_before(source, directory)
        used = "" if before is None else "; those that were fetched before are used"
        warnings.append(f"advisories: {error}{used}")
        return [] if before is None else [before]


def _read(paths: Sequence[Path], matcher: Matcher) -> _Read:
    warnings = []
    for path in paths:
        try:
            damaged = read_all(path, matcher)
            if damaged:
                warnings.append(f"advisories: {damaged} in {redacted(str(path))} are no JSON")
        except AdvisoryError as error:
            warnings.append(f"advisories: {error}")
    return _Read(ids=matcher.found, warnings=tuple(warnings))
