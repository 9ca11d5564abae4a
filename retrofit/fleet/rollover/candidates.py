"""The load balancers of a rollover: why each is due, was moved, is left, or is a doubt; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from retrofit.config import Target
from retrofit.config.rollover import RolloverSettings, SelectionSettings
from retrofit.fleet.failover import (
    Failover,
    FleetObservation,
    Stale,
    by_load_balancer,
    stale_of,
)
from retrofit.fleet.rollover.record import Record
from retrofit.model import Amphora, Image, LoadBalancer
from retrofit.plan.freshness import Freshness
from retrofit.plan.image_state import PROMOTED_AT, is_rejected, own_tags
from retrofit.times import age_of, iso

GRACE = timedelta(minutes=5)
"""Difference allowed between the clocks of Octavia's controllers and Glance's."""
PENDING = "PENDING_"
PAIR = frozenset({"MASTER", "BACKUP"})
AMPHORA_PROVIDERS = frozenset({None, "amphora", "octavia"})
"""Octavia's names of its own driver; the second is the older one of the same."""


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Why a rollover stops at a load balancer; the same `mark` is the same trouble."""

    reason: str
    mark: str


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A load balancer with an amphora of the target.

    `due` is why it is to be moved, `left` why it never is in this rollover; each None for no
    reason. `moved` is whether all its amphorae run on images of this rollover.
    """

    stale: Stale
    due: str | None = None
    left: str | None = None
    doubt: Doubt | None = None
    moved: bool = False
    canary: bool = False

    @property
    def load_balancer(self) -> LoadBalancer:
        """Return what Octavia shows of it."""
        return self.stale.load_balancer

    @property
    def id(self) -> str:
        """Return its id."""
        return self.load_balancer.id

    @property
    def name(self) -> str:
        """Return it as people find it."""
        return f"{self.load_balancer.name or 'unnamed'} ({self.id})"

    @property
    def is_pending(self) -> bool:
        """Return True while Octavia works on it, and answers 409 to everything else."""
        return self.load_balancer.provisioning_status.startswith(PENDING)

    @property
    def is_outage(self) -> bool:
        """Return True if it does not answer during a failover."""
        serving = {each.role for each in self.stale.amphorae if each.status == "ALLOCATED"}
        return self.load_balancer.provisioning_status == "ERROR" or not serving >= PAIR

    @property
    def moved_at(self) -> datetime:
        """Return when the youngest of its amphorae was made."""
        return max(each.created_at for each in self.stale.amphorae)


def candidates(
    target: Target,
    observed: FleetObservation,
    promoted: Image,
    record: Record,
    *,
    try_canaries: bool = False,
) -> tuple[Candidate, ...]:
    """Return all load balancers with an amphora on an image of the target, or of nobody's.

    Those that run on images of other targets alone are theirs to move. Canaries are due with the
    first of the others, and with `try_canaries` though none of those was observed.
    """
    known = {each.id: each for each in observed.fleet.load_balancers}
    judge = _Judge(target, observed, promoted, record)
    found = [
        judge.candidate(known[load_balancer_id], amphorae)
        for load_balancer_id, amphorae in sorted(by_load_balancer(observed.fleet).items())
        if load_balancer_id in known
        and any(
            each.image_id is not None and not judge.is_of_others(each.image_id) for each in amphorae
        )
    ]
    if try_canaries or any(each.due is not None and each.left is None for each in found):
        # Canaries go first with every image, old as theirs may not be.
        found = [
            judge.candidate(each.load_balancer, each.stale.amphorae, as_canary=True)
            if each.canary and each.due is None and not each.moved
            else each
            for each in found
        ]
    return tuple(found)


class _Judge:
    """The rules by which the load balancers of one target are judged at one moment."""

    def __init__(
        self, target: Target, observed: FleetObservation, promoted: Image, record: Record
    ) -> None:
        self._settings = target.rollover
        self._tags = own_tags(target)
        self._observed = observed
        self._others = {each.target for each in observed.identities} - {target.name}
        self._promoted = promoted
        self._record = record
        self._now = observed.inventory.now
        self._accepted = accepted_images(target, observed, promoted, record)
        self._of_others: dict[str, bool] = {}

    def is_of_others(self, image_id: str) -> bool:
        """Return True for an image that is not ours to replace; proofs take time."""
        if image_id not in self._of_others:
            self._of_others[image_id] = self._observed.is_of(image_id, self._others)
        return self._of_others[image_id]

    def candidate(
        self,
        load_balancer: LoadBalancer,
        amphorae: tuple[Amphora, ...],
        *,
        as_canary: bool = False,
    ) -> Candidate:
        stale = stale_of(self._observed, self._promoted, load_balancer, amphorae)
        due = self._due(amphorae) or ("the first to try the image" if as_canary else None)
        left = None if due is None else self._left(stale)
        moved = all(each.image_id in self._accepted for each in amphorae)
        doubt = None
        if left is None and (moved or due is not None):
            doubt = self._doubt(load_balancer, amphorae)
        if doubt is not None and doubt.mark == self._record.acknowledged.get(load_balancer.id):
            # A person has seen it. What is in ERROR may be mended by another failover.
            left = None if load_balancer.provisioning_status == "ERROR" else doubt.reason
            doubt = None
        elif due is not None and left is None:
            left = self._trouble(load_balancer)
        return Candidate(
            stale=stale,
            due=due,
            left=left if due is not None else None,
            doubt=doubt,
            moved=moved,
            canary=_is_canary(load_balancer, self._settings),
        )

    def _trouble(self, load_balancer: LoadBalancer) -> str | None:
        """Return why a load balancer cannot be moved, whenever that began."""
        if load_balancer.provisioning_status == "ERROR":
            return f"in ERROR since {_since(load_balancer)}: see Octavia's log for the reason"
        return stuck(load_balancer) if self._is_stuck(load_balancer) else None

    def _due(self, amphorae: Iterable[Amphora]) -> str | None:
        """Return why a load balancer is to be moved: the worst of its images."""
        old = [
            each
            for each in amphorae
            if each.image_id is not None
            and each.image_id not in self._accepted
            and not self.is_of_others(each.image_id)
        ]
        reasons = (self._worse(each) for each in old)
        return next((reason for reason in reasons if reason is not None), None)

    def _worse(self, amphora: Amphora) -> str | None:
        image_id = str(amphora.image_id)
        image = self._observed.images.get(image_id)
        if image is None:
            return f"Glance does not show its image {image_id}"
        if is_rejected(image):
            return f"its image {image_id} was rejected"
        fixes = missing_fixes(self._observed.freshness, image_id, self._promoted.id)
        if fixes:
            return f"its image {image_id} lacks {fixes} security fix{'es' if fixes > 1 else ''}"
        if self._now - image.created_at >= timedelta(days=self._settings.older_than):
            return f"its image {image_id} is {age_of(image.created_at, self._now)} old"
        if self._is_unexpected(amphora):
            return f"it started from image {image_id} since the promotion"
        return None

    def _left(self, stale: Stale) -> str | None:
        """Return why a load balancer is not moved though it is due; None where it may be."""
        load_balancer, settings = stale.load_balancer, self._settings
        if load_balancer.id in self._record.failed:
            return f"its failover failed: {self._record.failed[load_balancer.id]}"
        if load_balancer.provider not in AMPHORA_PROVIDERS:
            return f"of provider {load_balancer.provider}, which retrofit does not know"
        flavor = self._observed.fleet.flavors.get(load_balancer.flavor_id or "")
        if not settings.only.is_empty and not _selects(settings.only, load_balancer, flavor):
            return "not among rollover.only"
        if _selects(settings.exclude, load_balancer, flavor):
            return "excluded by rollover.exclude"
        tag = self._observed.fleet.image_tags.get(flavor or "")
        if tag is not None and tag not in self._tags:
            return f"its flavor {flavor} names the image tag {tag}"
        if stale.breaks:
            return f"the promoted image refuses what it has: {', '.join(stale.breaks)}"
        if settings.outages == "never" and stale.failover in {Failover.OUTAGE, Failover.BROKEN}:
            return f'{stale.remark}, and rollover.outages is "never"'
        return None

    def _doubt(self, load_balancer: LoadBalancer, amphorae: Iterable[Amphora]) -> Doubt | None:
        """Return what stops the rollover: trouble that came since it began."""
        since = load_balancer.updated_at
        status = load_balancer.provisioning_status
        if since is not None and since >= self._record.began_at:
            if status == "ERROR":
                return Doubt(
                    reason=f"{load_balancer.name or load_balancer.id} is in ERROR since"
                    f" {_since(load_balancer)}",
                    mark=f"ERROR {_since(load_balancer)}",
                )
            if self._is_stuck(load_balancer):
                return Doubt(reason=stuck(load_balancer), mark=f"{status} {_since(load_balancer)}")
        for each in amphorae:
            if self._is_unexpected(each):
                return Doubt(
                    reason=f"amphora {each.id} of {load_balancer.name or load_balancer.id} started"
                    f" at {iso(each.created_at)} from image {each.image_id}, not from the promoted"
                    f" image {self._promoted.id}",
                    mark=f"amphora {each.id}",
                )
        return None

    def _is_stuck(self, load_balancer: LoadBalancer) -> bool:
        since = load_balancer.updated_at
        limit = timedelta(seconds=self._settings.settle_timeout)
        pending = load_balancer.provisioning_status.startswith(PENDING)
        return pending and since is not None and self._now - since >= limit

    def _is_unexpected(self, amphora: Amphora) -> bool:
        since = self._promoted.time(PROMOTED_AT)
        return (
            since is not None
            and amphora.image_id is not None
            and amphora.image_id not in self._accepted
            and amphora.created_at > since + GRACE
            and not self.is_of_others(amphora.image_id)
        )


def accepted_images(
    target: Target, observed: FleetObservation, promoted: Image, record: Record
) -> frozenset[str]:
    """Return the images that a rollover may end on: those promoted since it began, not rejected."""
    return frozenset(
        {promoted.id}
        | {
            image.id
            for image in observed.inventory.ours(target)
            if not is_rejected(image)
            and (since := image.time(PROMOTED_AT)) is not None
            and since >= record.began_at
        }
    )


def missing_fixes(known: Mapping[str, Freshness], image_id: str, promoted_id: str) -> int:
    """Return how many security fixes an image lacks that the promoted one has; 0 if not known."""
    its, ours = known.get(image_id), known.get(promoted_id)
    if its is None:
        return 0
    lacking_too = () if ours is None else tuple(each.key for each in ours.fixes)
    return sum(each.key not in lacking_too for each in its.fixes)


def stuck(load_balancer: LoadBalancer) -> str:
    """Return what is known of a load balancer whose change does not end, and who can end it."""
    return (
        f"{load_balancer.name or load_balancer.id} is {load_balancer.provisioning_status} since"
        f" {_since(load_balancer)}: no request can end that, only Octavia's operator, who finds"
        " its flow in the log of octavia-worker"
    )


def _selects(selection: SelectionSettings, load_balancer: LoadBalancer, flavor: str | None) -> bool:
    return bool(
        load_balancer.tags.intersection(selection.tags)
        or load_balancer.project_id in selection.projects
        or {load_balancer.flavor_id, flavor}.intersection(selection.flavors)
    )


def _is_canary(load_balancer: LoadBalancer, settings: RolloverSettings) -> bool:
    return load_balancer.id in settings.canaries or bool(
        load_balancer.tags.intersection(settings.canaries)
    )


def _since(load_balancer: LoadBalancer) -> str:
    return iso(load_balancer.updated_at) if load_balancer.updated_at else "an unknown time"
