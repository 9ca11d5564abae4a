"""What runs on which image, and in which order to move it to the promoted one; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from retrofit.model import Amphora, Fleet, Image, LoadBalancer
from retrofit.plan import Inventory

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""When an image was made that Glance does not show: before all others."""


@dataclass(frozen=True, kw_only=True)
class Census:
    """All that was read for the audit of one target.

    `images` are those of the inventory and those that amphorae run on, by id, as far as Glance
    shows them to us. `owner` is Octavia's amp_image_owner_id where we could read it.
    """

    where: str
    inventory: Inventory
    fleet: Fleet
    images: Mapping[str, Image]
    owner: str | None = None
    mismatches: tuple[str, ...] = ()

    def made(self, image_id: str) -> datetime:
        """Return when an image was created, long ago for one that Glance does not show."""
        image = self.images.get(image_id)
        return LONG_AGO if image is None else image.created_at

    def target_of(self, image_id: str | None) -> str | None:
        """Return the target whose image this is.

        Anybody can set our properties: what another project owns is nobody's.
        """
        image = None if image_id is None else self.images.get(image_id)
        if image is None or image.owner != self.inventory.own_project:
            return None
        return image.property("retrofit_target")


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

    @property
    def failover(self) -> Failover:
        """Say what a failover costs, by the states and roles that Octavia tells.

        Octavia takes a failover of what is ACTIVE or ERROR, and answers 409 else (its
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
    def order(self) -> tuple[Failover, datetime, str, str]:
        """Order load balancers for failover: the cheapest, the oldest, then by name and id."""
        load_balancer = self.load_balancer
        return self.failover, self.oldest, load_balancer.name, load_balancer.id

    @property
    def remark(self) -> str:
        """Say what a failover costs, in words."""
        status = self.load_balancer.provisioning_status
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
    census: Census, promoted: Image, *, others: frozenset[str] = frozenset()
) -> list[Stale]:
    """Return the load balancers to fail over, in the order to do it.

    `others` are targets whose images are theirs to replace. A load balancer that Octavia did not
    list, deleted since its amphorae were, is left out.
    """
    known = {each.id: each for each in census.fleet.load_balancers}
    return sorted(
        (
            Stale(
                load_balancer=known[load_balancer_id],
                amphorae=amphorae,
                oldest=min(census.made(each.image_id) for each in amphorae if each.image_id),
            )
            for load_balancer_id, amphorae in _by_load_balancer(census.fleet).items()
            if load_balancer_id in known
            and any(
                each.image_id not in {None, promoted.id}
                and census.target_of(each.image_id) not in others
                for each in amphorae
            )
        ),
        key=lambda stale: stale.order,
    )


def _by_load_balancer(fleet: Fleet) -> dict[str, tuple[Amphora, ...]]:
    grouped: dict[str, list[Amphora]] = defaultdict(list)
    for amphora in sorted(fleet.usage.amphorae, key=lambda each: each.id):
        if amphora.load_balancer_id is not None:
            grouped[amphora.load_balancer_id].append(amphora)
    return {load_balancer: tuple(amphorae) for load_balancer, amphorae in grouped.items()}
