"""Promote, demote, retire: make before break, and every step after another look at Glance."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from retrofit.cloud import Glance, Removal
from retrofit.config import Target
from retrofit.errors import PublishError
from retrofit.model import Image
from retrofit.plan import Rotation, is_eligible, is_whole, rotate
from retrofit.report import RunReport
from retrofit.survey import take_inventory

log = structlog.get_logger(__name__)


def promote(target: Target, glance: Glance, report: RunReport, image: Image) -> None:
    """Tag an image, once it is seen to be active and whole; the others keep their tag as yet."""
    current = glance.get(image.id)
    if current is None or current.status != "active" or not is_whole(current):
        state = "gone" if current is None else f'"{current.status}", {current.size} bytes'
        raise PublishError(
            f"cannot promote {image.id}: image is {state}, expected what was built and verified",
            hint="somebody changed it after its upload; run again to build a new one",
        )
    if current.hidden:
        glance.update(image.id, {"os_hidden": False})
    glance.tag(image.id, target.publish.tag)
    _mark_promoted(glance, image)
    report.promoted.append(image.id)
    report.image_id = image.id
    log.info("image promoted", image_id=image.id, name=image.name)


def _mark_promoted(glance: Glance, image: Image) -> None:
    """Record that an image was promoted once; without the tag, that then means: demoted."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    glance.update(image.id, {"retrofit_promoted_at": now})


def _rotation(target: Target, glance: Glance, promoted: str | None) -> Rotation:
    """Look again and say who leaves; nobody does unless `promoted` is seen to stand there."""
    tag = target.publish.tag
    inventory = take_inventory(target, glance)
    standing = next((image for image in inventory.images if image.id == promoted), None)
    if standing is None or not is_eligible(standing, tag):
        return rotate(inventory, target, promoted=None)
    if not standing.property("retrofit_promoted_at"):  # a run died between tag and mark
        _mark_promoted(glance, standing)
    return rotate(inventory, target, promoted=promoted)


def demote_others(
    target: Target, glance: Glance, report: RunReport, *, promoted: str | None
) -> None:
    """Take the tag from every other image of the target, and hide them."""
    rotation = _rotation(target, glance, promoted)
    for image in rotation.demote:
        glance.untag(image.id, target.publish.tag)
        report.demoted.append(image.id)
        log.info("image demoted", image_id=image.id, name=image.name)
    for image in rotation.hide:
        glance.update(image.id, {"os_hidden": True})


def retire(target: Target, glance: Glance, report: RunReport, *, promoted: str | None) -> None:
    """Delete what retention no longer wants; only reached when nothing in this run failed."""
    rotation = _rotation(target, glance, promoted)
    report.notes.extend(rotation.notes)
    for image in rotation.retire:
        removal = glance.delete(image.id)
        if removal in {Removal.DELETED, Removal.GONE}:
            report.retired.append(image.id)
            log.info("image retired", image_id=image.id, name=image.name)
        else:
            report.notes.append(f"image {image.id} could not be deleted ({removal}): later")


def ask_as_octavia(target: Target, glance: Glance, report: RunReport, promoted: Image) -> None:
    """Make sure that Octavia's own query finds the promoted image.

    Raises PublishError when it finds another one of our project; one of another project, which
    amp_image_owner_id keeps away, is noted.
    """
    tag = target.publish.tag
    ours = glance.octavia_takes(tag, owner=glance.project_id)
    if ours is None or ours.id != promoted.id:
        raise PublishError(
            f"Octavia would take image {ours.id if ours else 'none'}, not {promoted.id}",
            hint=f"another image of this project carries the tag {tag} and was created later:"
            " remove its tag",
        )
    anybody = glance.octavia_takes(tag)
    if anybody is not None and anybody.id != promoted.id:
        report.notes.append(
            f"without amp_image_owner_id Octavia takes image {anybody.id} of project"
            f" {anybody.owner}: set amp_image_owner_id = {glance.project_id} in octavia.conf"
        )
