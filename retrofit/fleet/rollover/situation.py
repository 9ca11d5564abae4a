"""From what was read to what a decision is made from; pure."""

from __future__ import annotations

from datetime import datetime

from retrofit.config import Target
from retrofit.fleet.failover import FleetObservation
from retrofit.fleet.rollover.candidates import Candidate, accepted_images, candidates
from retrofit.fleet.rollover.decision import Situation
from retrofit.fleet.rollover.record import Record, current_record, halt_on
from retrofit.model import Image
from retrofit.plan import Pause, octavia_order, promoted_image
from retrofit.plan.image_state import is_eligible, is_rejected


def situation_of(
    target: Target, observed: FleetObservation, *, pause: Pause | None = None
) -> Situation:
    """Return the situation of a target's rollover at the time of an observation."""
    inventory = observed.inventory
    promoted = promoted_image(inventory, target)
    if promoted is None:
        return Situation(now=inventory.now, promoted=None, pause=pause)
    record = current_record(promoted, inventory.ours(target))
    found = candidates(target, observed, promoted, record)
    return Situation(
        now=inventory.now,
        promoted=promoted.id,
        record=record,
        halt=halt_on(promoted),
        pause=pause,
        candidates=found,
        soak_from=None if _is_way_back(observed, promoted, found) else record.began_at,
        last_end=_last_end(target, observed, promoted, record, found),
        obstacle=other_selection(target, observed, promoted),
    )


def other_selection(target: Target, observed: FleetObservation, promoted: Image) -> str | None:
    """Return what Octavia would select in place of the promoted image; None where it would not."""
    tag, owner = target.publish.tag, observed.owner
    able = [
        image
        for image in observed.inventory.images
        if is_eligible(image, tag) and owner in {None, image.owner}
    ]
    selected = max(able, key=octavia_order, default=None)
    if selected is not None and selected.id == promoted.id:
        return None
    found = "none" if selected is None else f"image {selected.id}"
    return f"Octavia would select {found}, not the promoted image {promoted.id}"


def _is_way_back(observed: FleetObservation, promoted: Image, found: tuple[Candidate, ...]) -> bool:
    """Return True if what runs was rejected for an older image, which amphorae ran on before.

    Such an image needs no soak, and what runs on the rejected one should not wait for it.
    """
    running = {each.image_id for one in found for each in one.stale.amphorae if one.due}
    images = [observed.images.get(each) for each in running if each is not None]
    return any(
        image is not None and is_rejected(image) and octavia_order(image) > octavia_order(promoted)
        for image in images
    )


def _last_end(
    target: Target,
    observed: FleetObservation,
    promoted: Image,
    record: Record,
    found: tuple[Candidate, ...],
) -> datetime | None:
    """Return when the last load balancer was moved: an amphora that is younger than the rollover.

    One of a load balancer that was created since is none. Octavia's clock may be ahead of ours.
    """
    accepted = accepted_images(target, observed, promoted, record)
    return max(
        (
            min(amphora.created_at, observed.inventory.now)
            for each in found
            if each.load_balancer.created_at is not None
            and each.load_balancer.created_at < record.began_at
            for amphora in each.stale.amphorae
            if amphora.image_id in accepted
        ),
        default=None,
    )
