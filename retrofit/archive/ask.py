"""Ask the archive what it offers an image: apt decides, in a root of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from retrofit.archive.agent_releases import newer_agent
from retrofit.archive.answers import name_of, updates, with_sources
from retrofit.archive.evidence import DATES, STATUS, Evidence
from retrofit.archive.indexes import (
    Index,
    digest_of_lists,
    newest,
    older_than_seen,
    read_date,
    read_indexes,
)
from retrofit.archive.last_check import recall, remember
from retrofit.archive.mirrors import mirrored
from retrofit.archive.name_fixes import name_fixes
from retrofit.archive.offer import ArchiveError, Offer, Update
from retrofit.archive.private_root import PrivateRoot, alone, lay_out
from retrofit.archive.sources import entries_of
from retrofit.archive.status import Installed, installed_packages
from retrofit.config import BuildSettings
from retrofit.system.directories import make_directory

UPDATE_LIMIT = 600.0
ANSWER_LIMIT = 120.0
"""Seconds for apt to fetch indexes, and to answer from them."""
FROZEN_AFTER = timedelta(days=10)
"""Age at which the index of a security suite is worth a warning: Ubuntu's has no end of validity,
Debian's has seven days."""
LAST_CHECK = "last-check.json"
NOT_THERE = "Skipping acquire of configured file"
"""apt's words for a component or an architecture that an archive does not have, which is no error
to it: the image's packages of it would have no updates for ever."""


def ask(
    evidence: Evidence,
    root: Path,
    *,
    architecture: str,
    build: BuildSettings,
    now: datetime,
    advisories: Sequence[str] = (),
) -> Offer:
    """Return what the archive offers an image.

    `advisories` are files, directories and addresses of records that name what updates fix.

    `root` is a directory of ours for one target, `architecture` is Debian's name of it. As long as
    evidence and indexes are those of the last check, its answer stands. Raises ArchiveError when
    nobody knows: no answer, a bad signature, an index that ran out or is older than one before,
    evidence that may not be given to apt.
    """
    try:
        make_directory(root)
        with alone(root):
            asked = partial(_ask, evidence, root, architecture=architecture, build=build)
            return asked(now=now, advisories=advisories)
    except OSError as error:
        raise ArchiveError(
            f"cannot keep the archive's indexes in {root}: {error.strerror or error}",
            hint="see that the directory can be written, and has space",
        ) from error


def _ask(
    evidence: Evidence,
    root: Path,
    *,
    architecture: str,
    build: BuildSettings,
    now: datetime,
    advisories: Sequence[str],
) -> Offer:
    packages = tuple(installed_packages(evidence.files[STATUS]))
    others = sorted({each.architecture for each in packages} - {architecture, "all"})
    instead = None if build.apt_sources is None else build.apt_sources.read_bytes()
    entries = mirrored(entries_of(evidence, instead=instead), build)
    private = lay_out(
        root,
        evidence,
        entries,
        architectures=(architecture, *others),
        held=evidence.held,
        build=build,
    )
    last = recall(root / LAST_CHECK)
    if last.lists != _digest(private):
        private.forget("lists")
    try:
        lacking = _update(private)
    finally:
        last = last.model_copy(update={"lists": _digest(private)})
        remember(root / LAST_CHECK, last)
    indexes = read_indexes(private.lists)
    _require_newest(indexes, _newer(_dates_of(evidence), last.seen))
    seen = {**last.seen, **{each.name: each.date for each in indexes}}
    asked = (
        last.format,
        architecture,
        _evidence_digest(evidence),
        [each.written() for each in entries],
    )
    key = _sha256(json.dumps([asked, [(each.name, each.digest) for each in indexes]]).encode())
    if key != last.key:
        found = _answer(private, packages, architecture, evidence)
        last = last.model_copy(update={"key": key, "updates": found, "lacking": lacking})
    last = last.model_copy(update={"seen": seen})
    remember(root / LAST_CHECK, last)
    for each in last.lacking:
        if f"architecture '{architecture}'" in each:
            raise ArchiveError(
                f"the archive lacks an index: {each}",
                hint="choose a mirror that has the image's architecture",
            )
    agent, agent_unknown = _agent(evidence, private, architecture, build)
    offer = Offer(
        checked_at=now,
        updates=(*last.updates, *agent),
        newest_index=newest(indexes),
        agent_unknown=agent_unknown,
        warnings=(*(f"the archive lacks {each}" for each in last.lacking), *_frozen(indexes, now)),
    )
    offer, named = name_fixes(offer, last, evidence, private, advisories=advisories, build=build)
    remember(root / LAST_CHECK, named)
    return offer


def _agent(
    evidence: Evidence, private: PrivateRoot, architecture: str, build: BuildSettings
) -> tuple[tuple[Update, ...], str | None]:
    """Return the agent's newer releases, or why nobody knows: packages are known all the same."""
    try:
        return newer_agent(evidence, private, architecture=architecture, build=build), None
    except ArchiveError as error:
        return (), error.message
    except OSError as error:
        return (), str(error)


def _digest(private: PrivateRoot) -> str:
    try:
        return digest_of_lists(private.lists)
    except OSError:
        return "damaged"


def _update(private: PrivateRoot) -> tuple[str, ...]:
    """Fetch what is new; return apt's notes about what the archive does not have at all."""
    # With Generate, apt parses all indexes at the end, for an answer that nobody reads. Without a
    # terminal it would be silent about an architecture that the archive lacks.
    options = ("pkgCacheFile::Generate=false", "quiet=0", "quiet::NoProgress=true")
    words = (f"--option={option}" for option in options)
    done = private.apt("apt-get", "update", *words, timeout=UPDATE_LIMIT)
    lines = f"{done.stdout}\n{done.stderr}".splitlines()
    return tuple(line.partition(NOT_THERE)[2].strip() for line in lines if NOT_THERE in line)


def _answer(
    private: PrivateRoot, packages: Sequence[Installed], architecture: str, evidence: Evidence
) -> tuple[Update, ...]:
    names = sorted({name_of(each, architecture) for each in packages})
    try:
        simulation = private.apt("apt-get", "--simulate", "dist-upgrade", timeout=ANSWER_LIMIT)
        policy = private.apt("apt-cache", "policy", timeout=ANSWER_LIMIT)
        versions = private.apt("apt-cache", "policy", "--", *names, timeout=ANSWER_LIMIT)
        found = updates(
            packages,
            architecture=architecture,
            simulation=simulation.stdout,
            policy=policy.stdout,
            versions=versions.stdout,
            held=evidence.held,
        )
        candidates = [f"{update.package}={update.candidate}" for update in found]
        shown = (
            private.apt("apt-cache", "show", "--", *candidates, timeout=ANSWER_LIMIT).stdout
            if candidates
            else ""
        )
    finally:
        # apt's cache of its own indexes is larger than they are.
        private.forget("cache")
    return with_sources(found, shown)


def _require_newest(indexes: tuple[Index, ...], seen: Mapping[str, datetime]) -> None:
    replayed = older_than_seen(indexes, seen)
    if replayed is not None:
        raise ArchiveError(
            f"the archive's index of {replayed.suite} is of {replayed.date:%Y-%m-%d %H:%M} UTC,"
            f" older than that of {seen[replayed.name]:%Y-%m-%d %H:%M} UTC that was there before",
            hint="see whether the mirror went back to an earlier state",
        )


def _newer(one: Mapping[str, datetime], other: Mapping[str, datetime]) -> dict[str, datetime]:
    return {name: max(d[name] for d in (one, other) if name in d) for name in {*one, *other}}


def _dates_of(evidence: Evidence) -> dict[str, datetime]:
    """Return the dates of the indexes that the build used, by the names of apt's copies."""
    found = {}
    for line in evidence.files.get(DATES, b"").decode(errors="replace").splitlines():
        name, _, date = line.partition("\t")
        when = read_date(date)
        if when is not None:
            found[name] = when
    return found


def _frozen(indexes: tuple[Index, ...], now: datetime) -> tuple[str, ...]:
    when = newest(indexes)
    if when is None or now - when < FROZEN_AFTER or not any(i.is_security for i in indexes):
        return ()
    return (
        f"the newest index of the security archive is of {when.astimezone(UTC):%Y-%m-%d},"
        f" {(now - when).days} days ago: the mirror may have stopped",
    )


def _evidence_digest(evidence: Evidence) -> str:
    files = sorted((name, _sha256(data)) for name, data in evidence.files.items())
    return _sha256(json.dumps(files).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
