"""Which packages differ between two images, by dpkg's status of both; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from retrofit.archive.evidence import STATUS, Evidence
from retrofit.archive.status import STATE, field, paragraphs


@dataclass(frozen=True, kw_only=True)
class PackageChange:
    """A package of another version; None where one of the images does not have it."""

    package: str
    before: str | None
    after: str | None
    cves: tuple[str, ...] = ()
    """Ids in the changelog's entries since the version before."""


def package_changes(before: Evidence, after: Evidence) -> tuple[PackageChange, ...]:
    """Return what differs, by name. A package of several architectures is named `name:arch`."""
    old, new = versions(before), versions(after)
    return tuple(
        PackageChange(package=name, before=old.get(name), after=new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def versions(evidence: Evidence) -> Mapping[str, str]:
    """Return the installed packages of an image with their versions."""
    found = {
        (field(paragraph, "Package"), field(paragraph, "Architecture")): field(paragraph, "Version")
        for paragraph in paragraphs(evidence.files[STATUS])
        if STATE.search(paragraph) is not None
    }
    names = Counter(name for name, _ in found)
    return {
        f"{name}:{architecture}" if names[name] > 1 else name: version
        for (name, architecture), version in found.items()
    }
