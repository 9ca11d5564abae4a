"""What `apt-get -s dist-upgrade` and `apt-cache policy` print for scripts (LC_ALL=C); pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as attribute

from retrofit.archive.offer import Update, UpdateKind
from retrofit.archive.status import Installed, field, paragraphs, source_of

TAKEN = re.compile(r"Inst (\S+) \[")
INDEX = re.compile(r"\s+-?\d+ (\S.*)")
RELEASE = re.compile(r"\s+release (.*)")
PACKAGE = re.compile(r"(\S+):")
CANDIDATE = re.compile(r"  Candidate: (\S+)")
ROW = re.compile(r" (\*\*\*|   ) (\S+) -?\d+(?: \(phased \d+%\))?")


@dataclass(kw_only=True)
class Row:
    """A version of a package's table, and the indexes that have it."""

    version: str
    installed: bool
    indexes: list[str] = attribute(default_factory=list)


@dataclass(kw_only=True)
class Table:
    """The versions of a package, newest first."""

    candidate: str = ""
    rows: list[Row] = attribute(default_factory=list)

    @property
    def newer(self) -> list[Row]:
        """Return the versions from the candidate down to the installed one, which is left out.

        Of one version there may be two rows: apt tells builds apart by more than that.
        """
        here = next((number for number, row in enumerate(self.rows) if row.installed), 0)
        there = next(
            (n for n, row in enumerate(self.rows) if row.version == self.candidate), len(self.rows)
        )
        installed = self.rows[here].version if self.rows else ""
        if self.candidate == installed:
            return []
        return [row for row in self.rows[there:here] if row.version != installed]


def taken(simulation: str) -> frozenset[str]:
    """Return the installed packages of which a simulation installs another version."""
    return frozenset(
        found[1] for line in simulation.splitlines() if (found := TAKEN.match(line)) is not None
    )


def security_indexes(policy: str) -> frozenset[str]:
    """Return the indexes that are of a security suite, as the tables of packages name them.

    `policy` is the answer of `apt-cache policy` without names. The rule is apt's own
    (pkgCache::VerIterator::IsSecurityUpdate), and the label of Debian's.
    """
    found = set()
    index = ""
    for line in policy.splitlines():
        release = RELEASE.fullmatch(line)
        if release is None:
            named = INDEX.fullmatch(line)
            index = named[1] if named else index
            continue
        facts = dict(re.findall(r"(?:^|,)([a-z])=([^,]*)", release[1]))
        suites = (facts.get("a", ""), facts.get("n", ""))
        if facts.get("l") == "Debian-Security" or any(s.endswith("-security") for s in suites):
            found.add(index)
    return frozenset(found)


def tables(policy: str) -> dict[str, Table]:
    """Return the tables of versions that `apt-cache policy NAME...` prints."""
    found: dict[str, Table] = {}
    table, row = Table(), None
    for line in policy.splitlines():
        if (package := PACKAGE.fullmatch(line)) is not None:
            table, row = found.setdefault(package[1], Table()), None
        elif (candidate := CANDIDATE.fullmatch(line)) is not None:
            table.candidate = candidate[1]
        elif (version := ROW.fullmatch(line)) is not None:
            row = Row(version=version[2], installed=version[1] == "***")
            table.rows.append(row)
        elif row is not None and (index := INDEX.fullmatch(line)) is not None:
            row.indexes.append(index[1])
    return found


def name_of(package: Installed, architecture: str) -> str:
    """Return the name by which apt calls a package on a machine of this architecture."""
    if package.architecture in {architecture, "all"}:
        return package.package
    return f"{package.package}:{package.architecture}"


def updates(
    packages: Iterable[Installed],
    *,
    architecture: str,
    simulation: str,
    policy: str,
    versions: str,
    held: Collection[str],
) -> tuple[Update, ...]:
    """Return what is newer in the archive. `versions` is the policy of all packages, by name.

    A package that a simulation leaves is held back, whoever holds it.
    """
    installs = taken(simulation)
    security = security_indexes(policy)
    of_name: Mapping[str, Table] = tables(versions)
    found = []
    for package in packages:
        name = name_of(package, architecture)
        newer = of_name.get(name, Table()).newer
        if not newer:
            continue
        has_fix = any(index in security for row in newer for index in row.indexes)
        is_held = package.held or package.package in held or name not in installs
        kind = UpdateKind.SECURITY if has_fix else UpdateKind.OTHER
        found.append(
            Update(
                package=name,
                source=package.source,
                installed=_installed(of_name[name]),
                source_installed=package.source_version,
                candidate=of_name[name].candidate,
                kind=UpdateKind.HELD if is_held else kind,
                has_fix=is_held and has_fix,
            )
        )
    return tuple(sorted(found, key=lambda update: update.package))


def with_sources(found: Iterable[Update], shown: str) -> tuple[Update, ...]:
    """Return updates with the versions of their candidates' sources.

    `shown` is what `apt-cache show NAME=VERSION...` prints. A rebuild of the same source has a
    version of its own.
    """
    sources = {
        (field(each, "Package"), field(each, "Version")): source_of(each)[1]
        for each in paragraphs(shown.encode())
    }
    return tuple(
        replace(
            update,
            source_candidate=sources.get((update.package.partition(":")[0], update.candidate), ""),
        )
        for update in found
    )


def _installed(table: Table) -> str:
    return next(row.version for row in table.rows if row.installed)
