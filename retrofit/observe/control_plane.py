"""Which release of Octavia a cloud has, and what its load balancers use; nothing is changed."""

from __future__ import annotations

import re
from pathlib import Path

from retrofit.cloud import octavia
from retrofit.config import Target
from retrofit.control_plane.expectation import Expectation
from retrofit.control_plane.releases import ControlPlane, stated
from retrofit.observe.certificates import observe_certificates

INSTALLED = Path("/usr/lib/python3/dist-packages")
"""Where the packages of Debian and Ubuntu put Octavia's modules."""


def observe_control_plane(target: Target, *, installed: Path = INSTALLED) -> ControlPlane:
    """Return the release in the settings, else the one on this machine, else the API's interval."""
    if target.octavia.release is not None:
        return stated(target.octavia.release, "octavia.release")
    version = _installed(installed)
    if version is not None:
        return stated(version, f"package octavia {version} on this machine")
    return octavia.control_plane(target)


def expectation(target: Target) -> Expectation:
    """Return what an image of a target is held against, the kinds in use included."""
    guards = target.octavia.compatibility
    return Expectation(
        plane=observe_control_plane(target),
        used=octavia.kinds_of_load_balancers(target),
        certificates=observe_certificates(target),
        language=guards.language,
        version=guards.version,
        certificate_guard=guards.certificates,
    )


def _installed(directory: Path) -> str | None:
    """Return the version of Octavia among a machine's own Python packages."""
    found = sorted((*directory.glob("octavia-*.dist-info"), *directory.glob("octavia-*.egg-info")))
    for each in found:
        match = re.fullmatch(r"octavia-(\d+\.\d+\.\d+)[^-]*\.(?:dist|egg)-info", each.name)
        if match is not None:
            return match[1]
    return None
