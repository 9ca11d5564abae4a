"""Octavia: whether it answers, and what its release and certificates mean for the next image."""

from __future__ import annotations

from retrofit.cloud.octavia import Octavia
from retrofit.config import BuildSettings, Target
from retrofit.control_plane.expectation import Expectation
from retrofit.control_plane.forecast import refusals
from retrofit.errors import VerifyError
from retrofit.observe.control_plane import expectation
from retrofit.produce.preflight.tries import DoubtError

TIMEOUT = 10
"""Seconds to wait for an answer of Octavia's: nothing is built faster for a longer wait."""


def try_octavia(target: Target, series: str | None) -> str:
    """Ask Octavia what an image will meet, and return its release.

    Raises VerifyError for what verification would refuse after a build, CloudError where
    `octavia.query` requires an answer and there is none, DoubtError for all that is only likely.
    """
    asked = _hasty(target)
    if target.octavia.query == "require":
        Octavia.connect(asked).amphorae()
    expected = expectation(asked)
    against = [] if series is None else refusals(expected, series, target.source.series)
    if against:
        what = "; ".join(each.what for each in against)
        hint = "; or ".join(dict.fromkeys(each.way_out for each in against))
        if any(each.refuses for each in against) and _is_certain(target):
            raise VerifyError(what, hint=hint)
        raise DoubtError(what, hint=hint)
    _doubt_releases(expected)
    return f"Octavia {expected.plane}"


def _doubt_releases(expected: Expectation) -> None:
    """Raise DoubtError where the release is not known."""
    plane = expected.plane
    if plane.is_nearest:
        raise DoubtError(
            f"Octavia is of a release that this version of retrofit does not know: {plane}",
            hint="upgrade retrofit, or set octavia.release to a release that it knows",
        )
    if not plane.releases and (expected.language, expected.version) != ("ignore", "ignore"):
        raise DoubtError(
            f"the release of Octavia is not known: {plane.how}",
            hint="set octavia.release, or see why Octavia does not answer",
        )


def _hasty(target: Target) -> Target:
    cloud = target.cloud.model_copy(
        update={"retries": 0, "timeout": min(TIMEOUT, target.cloud.timeout)}
    )
    return target.model_copy(update={"cloud": cloud})


def _is_certain(target: Target) -> bool:
    """Return True if a boot will show it, and nothing brings another HAProxy than the series'."""
    return target.verify.level != "offline" and not _brings_others(target.build)


def _brings_others(build: BuildSettings) -> bool:
    return bool(build.cloud_archive or build.ppas or build.apt_sources or build.elements)
