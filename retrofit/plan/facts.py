"""What a plan is made from, read at one moment: values alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from retrofit.control_plane.certificates import Certificates
from retrofit.control_plane.releases import ControlPlane
from retrofit.model import Usage
from retrofit.plan.backoff import FailedBuild
from retrofit.plan.freshness import Freshness
from retrofit.plan.inventory import Inventory
from retrofit.plan.pause import Pause
from retrofit.plan.presence import Presence
from retrofit.source.choose import SourceChoice
from retrofit.source.trust import MirrorState


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a plan for one target is made from.

    `usage` is what Octavia runs; it matters only where `needs_usage` is true of the other facts.
    `recipe` is the digest of the configured one; `control_plane` is what is known of Octavia's
    release, None where nobody asked, and `certificates` what it presents. `warnings` are
    those about what was read. `force` is whether an operator asked for a build whatever is there.
    `clock` is this machine's time, which failures are recorded with (None: that of the inventory).
    `freshness` is what the archive has for the promoted image, None where nobody asked.
    `presence` is what reading the promoted image's bytes gave; the inventory has it already.
    """

    inventory: Inventory
    choice: SourceChoice
    recipe: str
    mirror: MirrorState = field(default_factory=MirrorState)
    usage: Usage = field(default_factory=Usage)
    failed: FailedBuild | None = None
    pause: Pause | None = None
    control_plane: ControlPlane | None = None
    certificates: Certificates | None = None
    warnings: tuple[str, ...] = ()
    force: bool = False
    clock: datetime | None = None
    presence: Presence | None = None
    freshness: Freshness | None = None
