"""Agent against control plane: what the image's agent lacks, and how far apart they are."""

from __future__ import annotations

from collections.abc import Callable

from retrofit.control_plane.agents import Feature, agent_version, asked, distance
from retrofit.control_plane.expectation import Expectation, Finding

RELEASE_CHECK = "agent-release"
WAYS_OUT = (
    "take a newer agent (build.cloud_archive, build.agent_version), or a newer series"
    " (source.series); octavia.compatibility.version = warn promotes all the same"
)


def version_findings(
    expected: Expectation, agent: str, has: Callable[[Feature], bool]
) -> list[Finding]:
    """Judge an image by its agent's version, and by the features that its files have.

    A feature that is missing refuses the image where a load balancer uses it. Distances warn: no
    release note names a break since Rocky.
    """
    version = agent_version(agent)
    if expected.version == "ignore" or not expected.plane.releases or version is None:
        return []
    apart = distance(expected.plane, version[0])
    found = [
        Finding(
            name=RELEASE_CHECK,
            refused=apart is not None,
            refuses=False,
            detail=apart or f"agent {agent}, octavia {expected.plane}",
        )
    ]
    for feature in asked(expected.plane):
        name = f"agent-has-{feature.kind}"
        if has(feature):
            found.append(Finding(name=name, refused=False, refuses=False, detail=feature.name))
            continue
        reasons = [f"agent {agent} has no {feature.name} ({feature.source}): {feature.without}"]
        used = expected.used is not None and feature.kind in expected.used
        if expected.used is None:
            reasons.append("whether a load balancer needs it is not known")
        else:
            reasons.append(f"{'a' if used else 'no'} load balancer has {feature.seen_by}")
        refuses = used and expected.version == "refuse"
        if refuses:
            reasons.append(f"ways out: {WAYS_OUT}")
        found.append(Finding(name=name, refused=True, refuses=refuses, detail="; ".join(reasons)))
    return found
