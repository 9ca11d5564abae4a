"""Names of locks on a server that several clouds, and releases, may share; pure."""

from __future__ import annotations

import hashlib
import json
import re

READABLE = 40
"""Characters of the part of a name that a person reads."""


def shared_name(*, project_id: str, region: str | None, tag: str, target: str) -> bytes:
    """Return the name under which all machines of an installation lock a target.

    A project's id is unique among clouds; the same project may have several regions, and a region
    several installations, which differ by their tag. A digest stands for them: drivers put names
    into keys and paths, which take neither every character nor every length.
    """
    facts = json.dumps([project_id, region, tag, target])
    digest = hashlib.sha256(facts.encode()).hexdigest()[:32]
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", f"{target}-{tag}")[:READABLE]
    return f"retrofit-{digest}-{readable}".encode()


def old_name(target: str) -> bytes:
    """Return the name by which 0.1.0 locks a target, of whatever cloud."""
    return f"retrofit-{target}".encode()


def rollover_name(place: str) -> bytes:
    """Return the name under which all machines lock the rollover of one Octavia."""
    digest = hashlib.sha256(place.encode()).hexdigest()[:32]
    return f"retrofit-rollover-{digest}".encode()
