"""Known defects of agents, looked for in the agent's own files."""

from __future__ import annotations

from retrofit.control_plane.agents import DEFECTS, Defect, Trait, agent_version
from retrofit.control_plane.releases import Version
from retrofit.model import version_key
from retrofit.verify.checks import CheckFailedError, NotApplicableError, WarningError
from retrofit.verify.offline.rules import Subject, rule


@rule("agent-known-defects")
def agent_known_defects(subject: Subject) -> str:
    """Look for the known defects of agents; one with which no amphora works fails the image."""
    octavia = subject.distributions.get("octavia")
    if octavia is None:
        raise NotApplicableError("the agent's version is not known")
    found = [each for each in DEFECTS if _concerns(each, subject) and not has(subject, each)]
    words = "; ".join(
        f"octavia {octavia.version} has {each.name} ({each.source}): {each.harm}" for each in found
    )
    if any(each.fatal for each in found):
        raise CheckFailedError(words)
    if found:
        raise WarningError(words)
    return f"octavia {octavia.version} has none of {len(DEFECTS)}"


def has(subject: Subject, trait: Trait) -> bool:
    """Return True if the image's agent has a trait: by its file, else by its version."""
    for directory in subject.agent_python:
        text = subject.tree.text(f"{directory}/octavia/{trait.file}")
        if text is not None:
            return trait.mark in text
    # An agent that shows neither is not accused of anything.
    version = _version(subject)
    return version is None or trait.is_in(version)


def _version(subject: Subject) -> Version | None:
    octavia = subject.distributions.get("octavia")
    return None if octavia is None else agent_version(octavia.version)


def _concerns(defect: Defect, subject: Subject) -> bool:
    version = _version(subject)
    if version is not None and not defect.came_before(version):
        return False
    if defect.python is None:
        return True
    python = subject.python_version
    return python is not None and version_key(python)[:2] >= defect.python
