"""The agent's Python distributions in evidence, and which of them an index has newer; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from retrofit.archive.evidence import AGENT, Evidence
from retrofit.archive.offer import Update, UpdateKind

# PyPA's "Names and normalization"; it becomes part of what programs print and read.
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
LONGEST = 1000
MOST = 2000
"""Distributions that are read: octavia has some 130."""
SHOWN = 12
"""Digits of a commit that stand for it."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """An installed distribution; one from git has the address, ref and commit that it came from."""

    name: str
    version: str
    url: str = ""
    ref: str = ""
    commit: str = ""


def written(distributions: Iterable[Distribution]) -> bytes:
    """Return distributions as evidence has them: a line each, its fields with tabs between."""
    rows = (
        (each.name, each.version, *((each.url, each.ref, each.commit) if each.commit else ()))
        for each in sorted(distributions, key=lambda each: each.name)
    )
    return "".join("\t".join(row) + "\n" for row in rows if not _breaks(row)).encode()


def _breaks(row: tuple[str, ...]) -> bool:
    return any(len(field) > LONGEST or not field.isprintable() for field in row)


def agent_of(evidence: Evidence) -> tuple[Distribution, ...]:
    """Return the agent's distributions; lines that no build of ours writes are left out."""
    text = evidence.files.get(AGENT, b"").decode(errors="replace")
    return tuple({each.name: each for each in _read(text)}.values())


def _read(text: str) -> Iterator[Distribution]:
    for line in text.splitlines()[:MOST]:
        row = tuple(line.split("\t"))
        if len(row) not in {2, 5} or _breaks(row) or NAME.fullmatch(row[0]) is None:
            continue
        if len(row) == 5 and COMMIT.fullmatch(row[4]) is None:
            continue
        url, ref, commit = row[2:] or ("", "", "")
        yield Distribution(
            name=canonicalize_name(row[0]), version=row[1], url=url, ref=ref, commit=commit
        )


def resolved(answer: str) -> dict[str, str]:
    """Return the versions that `uv pip compile` prints, by normalised name."""
    found = re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s;\\]+)", answer)
    return {canonicalize_name(name): version for name, version in found}


def newer(installed: Iterable[Distribution], available: Mapping[str, str]) -> tuple[Update, ...]:
    """Return what a new environment would have of a later version."""
    return tuple(
        _update(each, installed=each.version, candidate=available[each.name])
        for each in installed
        if not each.commit
        and each.name in available
        and is_later(available[each.name], each.version)
    )


def moved(distribution: Distribution, commit: str) -> Update | None:
    """Return the update of a distribution from git whose ref is at another commit."""
    if commit == distribution.commit:
        return None
    return _update(distribution, installed=distribution.commit[:SHOWN], candidate=commit[:SHOWN])


def is_later(version: str, than: str) -> bool:
    """Compare versions of Python distributions; what is none is not later."""
    try:
        return Version(version) > Version(than)
    except InvalidVersion:
        return False


def _update(distribution: Distribution, *, installed: str, candidate: str) -> Update:
    return Update(
        package=distribution.name,
        source=distribution.name,
        installed=installed,
        candidate=candidate,
        kind=UpdateKind.AGENT,
    )


def commit_of(answer: str, ref: str) -> str | None:
    """Return the commit of a ref in what `git ls-remote` prints; None where it has none.

    A tag that is an object of its own is followed by the commit that it names, with `^{}`.
    """
    found = {
        name: commit
        for commit, _, name in (line.partition("\t") for line in answer.splitlines())
        if COMMIT.fullmatch(commit) is not None
    }
    names = (ref, f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}")
    return next((found[name] for name in names if name in found), None)
