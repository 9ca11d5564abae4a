"""Releases of Octavia: names, versions, and the API that each one shows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

Version = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of OpenStack as Octavia has it.

    `major` is the first number of the package's version, `api` the newest minor version of the API
    (`octavia/api/root_controller.py` of that release). `first` and `last` are the versions that the
    tests render with: the oldest of the release, and the newest known.
    """

    name: str
    major: int
    api: int
    first: Version
    last: Version


RELEASES = (
    Release(name="2023.1", major=12, api=26, first=(12, 0, 0), last=(12, 0, 1)),
    Release(name="2023.2", major=13, api=27, first=(13, 0, 0), last=(13, 0, 1)),
    Release(name="2024.1", major=14, api=28, first=(14, 0, 0), last=(14, 0, 2)),
    Release(name="2024.2", major=15, api=28, first=(15, 0, 0), last=(15, 1, 0)),
    Release(name="2025.1", major=16, api=30, first=(16, 0, 0), last=(16, 1, 0)),
    Release(name="2025.2", major=17, api=30, first=(17, 0, 0), last=(17, 0, 1)),
    Release(name="2026.1", major=18, api=30, first=(18, 0, 0), last=(18, 0, 1)),
    Release(name="2026.2", major=19, api=30, first=(19, 0, 0), last=(19, 0, 0)),
)
"""Those whose configurations are known, the oldest first."""

NAME = re.compile(r"20\d\d\.[12]")
VERSION = re.compile(r"\d{1,3}(\.\d{1,4}){1,3}")


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """What is known of a cloud's Octavia: one of `releases`, the oldest first, and how it is known.

    `version` is the package's, where it is known. Without any release, `how` is the reason.
    """

    releases: tuple[Release, ...] = ()
    how: str
    version: Version | None = None
    is_nearest: bool = False
    """Whether the release is not known, and the nearest known one stands for it."""

    @property
    def span(self) -> str:
        """Return the release, or the first and the last possible one; `unknown` without any."""
        if not self.releases:
            return "unknown"
        first, last = self.releases[0].name, self.releases[-1].name
        return first if first == last else f"{first} to {last}"

    def __str__(self) -> str:
        return f"{self.span} ({self.how})"

    def versions(self, release: Release) -> tuple[Version, ...]:
        """Return the versions in question: the one that is known, or the ends of the release."""
        if self.version is not None and self.version[0] == release.major:
            return (self.version,)
        return tuple(dict.fromkeys((release.first, release.last)))


def stated(text: str, how: str) -> ControlPlane:
    """Return what a release's name (`2025.1`) or a package's version (`16.0.1`) stands for.

    One that is newer or older than all known ones counts as the nearest. Raises ValueError.
    """
    text = text.strip()
    if NAME.fullmatch(text):
        year, half = map(int, text.split("."))
        major, version = 2 * (year - 2023) + half + 11, None
    elif VERSION.fullmatch(text):
        version = tuple(map(int, text.split(".")))
        major = version[0]
    else:
        raise ValueError(f"{text!r} is neither a release such as 2025.1 nor a version as 16.0.1")
    release = next((each for each in RELEASES if each.major == major), None)
    if release is not None:
        return ControlPlane(releases=(release,), how=how, version=version)
    nearest = RELEASES[0] if major < RELEASES[0].major else RELEASES[-1]
    return ControlPlane(
        releases=(nearest,),
        how=f"{how}: {text}, not known to this version, judged as its nearest",
        is_nearest=True,
    )


def from_api(versions: Iterable[str]) -> ControlPlane:
    """Return the releases whose API shows these versions, `v2.28` the newest."""
    minors = [
        int(match[1])
        for each in versions
        if (match := re.fullmatch(r"v2\.(\d{1,4})", each.strip()))
    ]
    if not minors:
        return ControlPlane(how="GET / of the API lists no version of it")
    newest = max(minors)
    how = f"GET / of the API: v2.{newest}"
    found = tuple(each for each in RELEASES if each.api == newest)
    if found:
        return ControlPlane(releases=found, how=how)
    nearest = RELEASES[0] if newest < RELEASES[0].api else RELEASES[-1]
    return ControlPlane(
        releases=(nearest,), how=f"{how}, not known, judged as the nearest release", is_nearest=True
    )
