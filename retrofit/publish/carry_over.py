"""Write our present identity onto images that are provably ours and do not record it yet."""

from __future__ import annotations

from contextlib import suppress

import structlog

from retrofit.cloud import Glance, MissingImageError
from retrofit.config import Target
from retrofit.plan import Inventory, ambiguity, carry_overs
from retrofit.plan.companions import to_move
from retrofit.publish.evidence import move_evidence
from retrofit.runs.report import RunReport

log = structlog.get_logger(__name__)


def carry_over(inventory: Inventory, target: Target, glance: Glance, report: RunReport) -> bool:
    """Carry images over, with the target's lock held; return True if anything was written.

    The tags come first: a promoted image has all of them before it counts as carried over, so that
    a death in between repeats it. Evidence goes with its image, and before it. Nothing but identity
    and missing tags is written: pause, rejection, tags and times stay. Raises ConfigError where
    images cannot be proven to be ours, and then nothing is changed.
    """
    unclear = ambiguity(inventory, target)
    if unclear is not None:
        raise unclear
    found = carry_overs(inventory, target)
    for each in found:
        with suppress(MissingImageError):  # others deleted it meanwhile
            move_evidence(each.image, inventory, target, glance)
            for tag in each.tags:
                glance.tag(each.image.id, tag)
            glance.update(each.image.id, each.properties)
            report.adopted.append(each.image.id)
            report.notes.append(f"image {each.image.id} taken over: it {each.reason}")
            log.info("image taken over", image_id=each.image.id, proof=each.reason)
    # A run died, or Glance did not list them when their images were taken over.
    done = {each.image.id for each in found}
    here = [each for each in inventory.ours(target) if not each.is_unfinished]
    late = [
        each for each in here if each.id not in done and to_move(each, inventory.images, target)
    ]
    moved = [move_evidence(image, inventory, target, glance) for image in late]
    return bool(found) or any(moved)
