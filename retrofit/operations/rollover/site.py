"""What one rollover reads and writes: Glance, Octavia, and this machine's records."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from retrofit.cloud import Glance, MissingImageError
from retrofit.cloud.capacity import Capacity, Room
from retrofit.cloud.failover import FailoverOctavia
from retrofit.config import Settings, Target
from retrofit.errors import CloudError
from retrofit.fleet.failover import FleetObservation
from retrofit.fleet.rollover.candidates import Candidate, candidates
from retrofit.fleet.rollover.decision import Situation
from retrofit.fleet.rollover.record import (
    HALTED,
    PROPERTY,
    Halt,
    Record,
    halt_on,
    is_going_on,
    record_of_the_end,
    record_on,
)
from retrofit.fleet.rollover.situation import situation_of
from retrofit.model import Amphora, Image, LoadBalancer
from retrofit.observe.fleet import observe_fleet
from retrofit.plan import in_force, is_eligible, pauses_on
from retrofit.plan.image_state import is_rejected
from retrofit.runs.pauses import pause_of

log = structlog.get_logger(__name__)


class StaleError(Exception):
    """What was observed is not so any more: look at all of it again."""


@dataclass(kw_only=True)
class Site:
    """One target's rollover: all that was observed once, and the connections."""

    target: Target
    settings: Settings
    glance: Glance
    octavia: FailoverOctavia
    capacity: Capacity | None = None
    observed: FleetObservation = field(init=False)
    promoted: Image | None = field(init=False, default=None)
    _seen_at: float = field(init=False, default=0.0)

    @classmethod
    def connect(cls, target: Target, settings: Settings) -> Site:
        """Log in. Raises CloudError, ConfigError; CloudError too where Octavia is not asked."""
        if target.octavia.query == "never":
            raise CloudError(
                'octavia.query is "never": a rollover asks Octavia what runs on what',
                hint='set octavia.query = "auto" or "require"',
            )
        return cls(
            target=target,
            settings=settings,
            glance=Glance.connect(target.cloud),
            octavia=FailoverOctavia.connect(target),
            capacity=Capacity.connect(target) if target.rollover.check_capacity else None,
        )

    def now(self) -> datetime:
        """Return the time by Glance's clock, as the inventory has it."""
        passed = timedelta(seconds=time.monotonic() - self._seen_at)
        return self.observed.inventory.now + passed

    def observe(self) -> Situation:
        """List images, amphorae and load balancers once, and return the situation.

        The archive is asked each time: without its answer, nothing is due for a fix. Raises
        CloudError where Glance or Octavia do not answer.
        """
        observed, error = observe_fleet(self.target, self.settings, ask_archive=True)
        self._seen_at = time.monotonic()
        if error is not None:
            raise error
        if observed.fleet.usage.unknown is not None:
            raise CloudError(
                f"a rollover is not possible: {observed.fleet.usage.unknown}",
                hint="docs/how-to/rollover.md has the rights that it needs in Octavia",
            )
        self.observed = observed
        situation = self.situation()
        self.promoted = observed.images.get(situation.promoted or "")
        return situation

    def situation(self) -> Situation:
        """Return the situation as it was observed, and with what this rollover wrote since."""
        paused = pause_of(self.observed.inventory, self.target, self.settings.paths.state)
        return situation_of(self.target, self.observed, pause=paused)

    def look_again(self, situation: Situation, candidate: Candidate) -> Situation:
        """Ask anew for everything that a failover of this load balancer depends on.

        Five requests, however many load balancers there are. Raises StaleError where another image
        is promoted now.
        """
        image = self.glance.get(situation.promoted or "")
        if image is None or is_rejected(image) or not is_eligible(image, self.target.publish.tag):
            raise StaleError
        selected = self.glance.octavia_image(self.target.publish.tag, self.observed.owner)
        if selected is None or selected.id != image.id:
            raise StaleError
        inventory = self.observed.inventory
        pauses = pauses_on([image])
        kept = pause_of(inventory, self.target, self.settings.paths.state)
        pauses += [] if kept is None else [kept]
        return replace(
            self.judged(situation, candidate),
            halt=halt_on(image),
            pause=in_force(pauses, self.now()),
        )

    def room_for(self, candidate: Candidate, *, in_flight: int = 0) -> Room:
        """Return what the cloud lacks for a failover beside those in flight, as far as it tells."""
        if self.capacity is None:
            return Room()
        load_balancer = candidate.load_balancer
        network, subnet = load_balancer.vip_network_id, load_balancer.vip_subnet_id
        amphorae = sorted(
            candidate.stale.amphorae, key=lambda each: (each.status != "ALLOCATED", each.id)
        )
        servers = {each.compute_id: each.management_address for each in amphorae if each.compute_id}
        return self.capacity.room_for(
            servers, {subnet: network} if subnet and network else {}, needed=in_flight + 1
        )

    def judged(self, situation: Situation, candidate: Candidate) -> Situation:
        """Return the situation with one load balancer as Octavia shows it now."""
        load_balancer = self.octavia.load_balancer(candidate.id)
        amphorae = () if load_balancer is None else self.octavia.amphorae_of(candidate.id)
        return self.with_one(situation, candidate, load_balancer, amphorae)

    def judge_all(self, record: Record) -> tuple[Candidate, ...]:
        """Return all load balancers as they were observed, by another record."""
        if self.promoted is None:
            return ()
        return candidates(self.target, self.observed, self.promoted, record)

    def with_one(
        self,
        situation: Situation,
        candidate: Candidate,
        load_balancer: LoadBalancer | None,
        amphorae: tuple[Amphora, ...],
    ) -> Situation:
        """Return the situation with one load balancer replaced, or taken out where it is gone.

        Raises StaleError for an amphora on an image that was not there.
        """
        fresh: tuple[Candidate, ...] = ()
        if load_balancer is not None and self.promoted is not None and situation.record is not None:
            used = {each.image_id for each in amphorae if each.image_id is not None}
            if any(
                image_id not in self.observed.images
                and all(image_id != each.image_id for each in candidate.stale.amphorae)
                for image_id in used
            ):
                raise StaleError
            only = replace(
                self.observed,
                inventory=replace(self.observed.inventory, now=self.now()),
                fleet=replace(
                    self.observed.fleet,
                    usage=replace(self.observed.fleet.usage, amphorae=amphorae),
                    load_balancers=(load_balancer,),
                ),
            )
            fresh = candidates(
                self.target,
                only,
                self.promoted,
                situation.record,
                # Alone, a canary is not due for what others are due for.
                try_canaries=candidate.canary and candidate.due is not None,
            )
        others = tuple(each for each in situation.candidates if each.id != candidate.id)
        return replace(situation, candidates=(*others, *fresh))

    def statistics(self, amphorae: tuple[Amphora, ...]) -> Mapping[str, bool]:
        """Return which amphorae have sent statistics, by id."""
        return {each.id: self.octavia.has_statistics(each.id) for each in amphorae}

    def is_going_on(self) -> bool:
        """Return True if a rollover is recorded on one of our images, and goes on."""
        ours = self.observed.inventory.ours(self.target)
        return self.promoted is not None and is_going_on(self.promoted, ours)

    def record_of_the_end(self, record: Record | None) -> Record | None:
        """Return what stays of a record once nothing is due any more; None for nothing."""
        if record is None or self.promoted is None:
            return None
        return record_of_the_end(record, self.promoted)

    def write_record(self, record: Record | None) -> None:
        """Have the record on the promoted image and on no other of ours. Raises PublishError."""
        ours = self.observed.inventory.ours(self.target)
        promoted = None if self.promoted is None else self.promoted.id
        # The promoted image first: a death in between must not lose the record.
        for image in sorted(ours, key=lambda each: each.id != promoted):
            text = image.property(PROPERTY)
            is_promoted = image.id == promoted
            wanted = record.as_text() if is_promoted and record is not None else None
            if text != wanted and not (is_promoted and record_on(image) == record):
                self._update(image, {PROPERTY: wanted})

    def write_halt(self, halt: Halt | None) -> None:
        """Have the promoted image carry a halt, or none. Raises PublishError."""
        if self.promoted is not None:
            text = None if halt is None else halt.as_text()
            self._update(self.promoted, {HALTED: text})

    def _update(self, image: Image, changes: Mapping[str, str | None]) -> None:
        try:
            self.glance.update(image.id, changes)
        except MissingImageError:
            log.info("image is gone", image_id=image.id)
            return
        kept = {key: text for key, text in image.properties.items() if key not in changes}
        kept |= {key: text for key, text in changes.items() if text is not None}
        changed = replace(image, properties=kept)
        inventory = self.observed.inventory
        images = tuple(changed if each.id == image.id else each for each in inventory.images)
        self.observed = replace(
            self.observed,
            inventory=replace(inventory, images=images),
            images={**self.observed.images, image.id: changed},
        )
        if self.promoted is not None and image.id == self.promoted.id:
            self.promoted = changed
