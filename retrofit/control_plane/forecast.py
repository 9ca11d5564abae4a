"""What will be refused, by versions alone: before a build, and of load balancers that run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from retrofit.control_plane import certificates as presented
from retrofit.control_plane.certificates import Certificates
from retrofit.control_plane.expectation import WAYS_OUT, Expectation
from retrofit.control_plane.language import KINDS, SERIES, Kind
from retrofit.control_plane.releases import ControlPlane


def refused_kinds(plane: ControlPlane, haproxy: str) -> tuple[Kind, ...]:
    """Return the kinds that HAProxy of a version refuses, whichever release in question it is."""
    versions = [each for release in plane.releases for each in plane.versions(release)]
    return tuple(
        kind for kind in KINDS if versions and all(kind.refusal(each, haproxy) for each in versions)
    )


def possible_kinds(plane: ControlPlane, haproxy: str) -> tuple[Kind, ...]:
    """Return the kinds that HAProxy of a version refuses of one release in question at least."""
    versions = [each for release in plane.releases for each in plane.versions(release)]
    return tuple(kind for kind in KINDS if any(kind.refusal(each, haproxy) for each in versions))


def forecast(
    plane: ControlPlane | None,
    certificates: Certificates | None,
    series: str | None,
    configured: Iterable[str],
    agent: Iterable[str] = (),
) -> list[str]:
    """Return what a build from a series will meet, and which configured series would pass.

    What is None, nobody wants to know; `agent` is what is known of its agent. A series passes where
    nothing known is against it.
    """
    found = [*agent, *(certificates.remarks if certificates is not None else ())]
    if series is None or series not in SERIES:
        return found
    against = objections(plane, certificates, series)
    passing = [
        each for each in configured if each in SERIES and not objections(plane, certificates, each)
    ]
    way_out = f"of the configured series {', '.join(passing) or 'none'} would pass (source.series)"
    found += [f"{each}; {way_out}" for each in against]
    if certificates is not None:
        found += presented.unknown(certificates, series)
    return found


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What the control plane and an image of a series will not agree on.

    `refuses` is whether a boot that shows it keeps the image from being promoted.
    """

    what: str
    way_out: str
    refuses: bool


def refusals(expected: Expectation, series: str, configured: Iterable[str]) -> list[Refusal]:
    """Return what is against a build from a series, by the rules that judge the booted image.

    A kind of load balancers that nobody uses is no reason.
    """
    if series not in SERIES:
        return []
    certificates, found = expected.certificates, []
    haproxy = SERIES[series].haproxy
    kinds = [
        kind
        for kind in refused_kinds(expected.plane, haproxy)
        if expected.used is None or kind.name in expected.used
    ]
    if kinds and expected.language != "ignore":
        found.append(
            Refusal(
                what=f"octavia {expected.plane} writes load balancers of the kinds"
                f" {', '.join(kind.name for kind in kinds)} in a form that HAProxy {haproxy} of"
                f" {series} refuses",
                way_out=WAYS_OUT,
                refuses=expected.language == "refuse",
            )
        )
    if certificates is not None:
        found += [
            Refusal(
                what=each,
                way_out=presented.WAYS_OUT,
                refuses=expected.certificate_guard == "refuse",
            )
            for each in presented.objections(certificates, series)
        ]
    passing = [
        each
        for each in configured
        if each in SERIES and not objections(expected.plane, certificates, each)
    ]
    if passing:
        first = f"of the configured series {', '.join(passing)} would pass (source.series)"
        found = [replace(each, way_out=f"{first}; or {each.way_out}") for each in found]
    return found


def objections(
    plane: ControlPlane | None, certificates: Certificates | None, series: str
) -> list[str]:
    """Return what is known to be against a build from a series."""
    found = []
    haproxy = SERIES[series].haproxy
    refused = () if plane is None else refused_kinds(plane, haproxy)
    if refused:
        found.append(
            f"octavia {plane} writes load balancers of the kinds"
            f" {', '.join(kind.name for kind in refused)} in a form that HAProxy {haproxy} of"
            f" {series} refuses: verification will ask the image; or upgrade the control plane"
        )
    if certificates is not None:
        found += presented.objections(certificates, series)
    return found
