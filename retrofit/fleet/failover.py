"""Which load balancers to fail over to the promoted image, and in which order; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum

from retrofit.control_plane.agents import FEATURES, Feature, agent_version
from retrofit.control_plane.forecast import possible_kinds, refused_kinds
from retrofit.control_plane.releases import ControlPlane
from retrofit.model import Amphora, Fleet, Image, LoadBalancer
from retrofit.plan import Freshness, Identity, Inventory
from retrofit.plan.identity import Basis, whose

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""When an image was made that Glance does not show: before all others."""


@dataclass(frozen=True, kw_only=True)
class FleetObservation:
    """All that was read for the audit of one target.

    `images` are those of the inventory and those that amphorae run on, by id, as far as Glance
    shows them to us. `identities` are those of all configured targets. `owner` is Octavia's
    amp_image_owner_id where we could read it.
    """

    where: str
    inventory: Inventory
    identities: tuple[Identity, ...]
    fleet: Fleet
    images: Mapping[str, Image]
    owner: str | None = None
    control_plane: ControlPlane | None = None
    mismatches: tuple[str, ...] = ()
    freshness: Mapping[str, Freshness] = field(default_factory=dict)
    """By the ids of images that amphorae run on, and of the promoted one: what they lack of what
    the archive has."""

    def made(self, image_id: str) -> datetime:
        """Return when an image was created, long ago for one that Glance does not show."""
        image = self.images.get(image_id)
        return LONG_AGO if image is None else image.created_at

    def target_of(self, image_id: str | None) -> str | None:
        """Return the configured target whose image this provably is, None for any other."""
        image = None if image_id is None else self.images.get(image_id)
        if image is None:
            return None
        return next(
            (
                identity.target
                for identity in self.identities
                if whose(image, identity, self.inventory.images).ours
            ),
            None,
        )

    def is_of(self, image_id: str | None, others: Collection[str]) -> bool:
        """Return True for an image of one of these targets, or of another installation.

        What runs on it is theirs to replace.
        """
        target = self.target_of(image_id)
        if target is not None:
            return target in others
        image = self.images.get(image_id or "")
        return image is not None and all(
            whose(image, identity, self.inventory.images).basis is Basis.OTHER_INSTALLATION
            for identity in self.identities
        )


class Failover(IntEnum):
    """What a failover of a load balancer costs now; the cheapest first."""

    FREE = 0
    OUTAGE = 1
    BROKEN = 2
    REFUSED = 3


@dataclass(frozen=True, kw_only=True)
class Stale:
    """A load balancer that runs, in part at least, on another image than the promoted one.

    `oldest` is when the oldest of its images was made.
    """

    load_balancer: LoadBalancer
    amphorae: tuple[Amphora, ...]
    oldest: datetime
    breaks: tuple[str, ...] = ()
    """Kinds of its that the promoted image refuses."""

    @property
    def failover(self) -> Failover:
        """Return what a failover costs, by the states and roles that Octavia shows.

        Octavia accepts a failover of what is ACTIVE or ERROR, and answers 409 else (its
        FAILOVERABLE_STATUSES). Of a pair it replaces one amphora while the other serves.
        """
        status = self.load_balancer.provisioning_status
        if status == "ERROR":
            return Failover.BROKEN
        if status != "ACTIVE":
            return Failover.REFUSED
        serving = {each.role for each in self.amphorae if each.status == "ALLOCATED"}
        return Failover.FREE if serving >= {"MASTER", "BACKUP"} else Failover.OUTAGE

    @property
    def order(self) -> tuple[bool, Failover, datetime, str, str]:
        """Order load balancers for failover: the cheapest, the oldest, then by name and id.

        Those that the promoted image would break come last.
        """
        load_balancer = self.load_balancer
        return bool(self.breaks), self.failover, self.oldest, load_balancer.name, load_balancer.id

    @property
    def remark(self) -> str:
        """Return what a failover costs, in words."""
        status = self.load_balancer.provisioning_status
        if self.breaks:
            return f"not on this image: it refuses {', '.join(self.breaks)}"
        if self.failover is Failover.REFUSED:
            return f"not now: Octavia answers 409 while it is {status}"
        if self.failover is Failover.BROKEN:
            return "in ERROR: see why before; a failover may mend it, with an outage"
        if self.failover is Failover.FREE:
            return "no outage: one of its two amphorae serves while the other is replaced"
        if any(each.role in {"MASTER", "BACKUP"} for each in self.amphorae):
            return "outage during failover: only one of its two amphorae is well"
        return "outage during failover: it has one amphora"


def stale_load_balancers(
    observed: FleetObservation, promoted: Image, *, others: frozenset[str] = frozenset()
) -> list[Stale]:
    """Return the load balancers to fail over, in the order to do it.

    `others` are targets whose images are theirs to replace. A load balancer that Octavia did not
    list, deleted since its amphorae were, is left out.
    """
    known = {each.id: each for each in observed.fleet.load_balancers}
    return sorted(
        (
            stale_of(observed, promoted, known[load_balancer_id], amphorae)
            for load_balancer_id, amphorae in by_load_balancer(observed.fleet).items()
            if load_balancer_id in known
            and any(
                each.image_id not in {None, promoted.id}
                and not observed.is_of(each.image_id, others)
                for each in amphorae
            )
        ),
        key=lambda stale: stale.order,
    )


def stale_of(
    observed: FleetObservation,
    promoted: Image,
    load_balancer: LoadBalancer,
    amphorae: tuple[Amphora, ...],
) -> Stale:
    """Return a load balancer with what its failover to the promoted image would cost or break."""
    return Stale(
        load_balancer=load_balancer,
        amphorae=amphorae,
        oldest=min(observed.made(each.image_id) for each in amphorae if each.image_id),
        breaks=(
            *broken_kinds(observed, promoted, load_balancer.id),
            *(each.kind for each in lacking(observed, promoted, load_balancer.id)),
        ),
    )


def broken_kinds(
    observed: FleetObservation, promoted: Image, load_balancer_id: str, *, certain: bool = True
) -> tuple[str, ...]:
    """Return the kinds of a load balancer that the promoted image refuses, by HAProxy's version.

    With `certain`, those that every release in question writes so; else those of any of them.
    """
    haproxy, plane = promoted.property("haproxy_version"), observed.control_plane
    if haproxy is None or plane is None:
        return ()
    refused = refused_kinds(plane, haproxy) if certain else possible_kinds(plane, haproxy)
    own = observed.fleet.kinds.get(load_balancer_id, frozenset())
    return tuple(kind.name for kind in refused if kind.name in own)


def lacking(
    observed: FleetObservation, promoted: Image, load_balancer_id: str
) -> tuple[Feature, ...]:
    """Return what a load balancer uses and the promoted image's agent lacks, by its version."""
    agent = agent_version(promoted.property("amphora_agent_version") or "")
    if agent is None:
        return ()
    own = observed.fleet.kinds.get(load_balancer_id, frozenset())
    return tuple(each for each in FEATURES if each.kind in own and not each.is_in(agent))


def by_load_balancer(fleet: Fleet) -> dict[str, tuple[Amphora, ...]]:
    """Return the amphorae of each load balancer, by its id."""
    grouped: dict[str, list[Amphora]] = defaultdict(list)
    for amphora in sorted(fleet.usage.amphorae, key=lambda each: each.id):
        if amphora.load_balancer_id is not None:
            grouped[amphora.load_balancer_id].append(amphora)
    return {load_balancer: tuple(amphorae) for load_balancer, amphorae in grouped.items()}
