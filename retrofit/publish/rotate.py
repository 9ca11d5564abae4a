"""Promote, demote, retire: make before break, and every step after another look at Glance."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from retrofit.cloud import Glance, MissingImageError, Removal
from retrofit.config import Target
from retrofit.errors import PublishError
from retrofit.model import Image, Usage
from retrofit.plan import (
    Inventory,
    is_eligible,
    is_set_aside,
    is_usable,
    octavia_order,
    promoted_image,
    rotate,
)
from retrofit.report import RunReport
from retrofit.survey import take_inventory, usage_where_needed

log = structlog.get_logger(__name__)

SHARE_THE_LOCK = "machines that run the same target need the same lock.url"


def promote(target: Target, glance: Glance, report: RunReport, image: Image) -> None:
    """Tag an image, once it is seen to be active and whole; the others keep their tag as yet."""
    current = glance.get(image.id)
    if current is None or not is_usable(current):
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
    report.image_id, report.image_created_at = image.id, image.created_at
    log.info("image promoted", image_id=image.id, name=image.name)


def _mark_promoted(glance: Glance, image: Image) -> None:
    """Record that an image was promoted, and is no longer what it may have been before that."""
    marks = {
        "retrofit_promoted_at": _now(),
        "retrofit_demoted_at": None,
        "retrofit_set_aside_at": None,
    }
    glance.update(image.id, marks)


def set_aside(glance: Glance, image: Image) -> None:
    """Record that a person decided against an image: no run takes it back by itself."""
    glance.update(image.id, {"retrofit_set_aside_at": _now()})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _standing(target: Target, glance: Glance, promoted: str | None) -> tuple[Inventory, str | None]:
    """Look again; nobody leaves unless `promoted` is seen to stand where Octavia takes it.

    Nor where another one stands, and a person decided for that meanwhile.
    """
    inventory = take_inventory(target, glance)
    standing = next((image for image in inventory.images if image.id == promoted), None)
    if standing is None or not is_eligible(standing, target.publish.tag):
        return inventory, None
    stale = ("retrofit_demoted_at", "retrofit_set_aside_at")
    wanted = promoted_image(inventory, target)
    if standing.property("retrofit_set_aside_at") and wanted is not standing:
        return inventory, None
    if not standing.property("retrofit_promoted_at") or any(map(standing.property, stale)):
        _mark_promoted(glance, standing)  # what died between tag and mark
    return inventory, standing.id


def demote_others(
    target: Target,
    glance: Glance,
    report: RunReport,
    *,
    promoted: str | None,
    seen: Collection[str],
) -> None:
    """Take the tag from every other image of the target, and hide them.

    `seen` are the ids of the images that this was decided upon; see `rotate`. Raises PublishError
    when Octavia finds nothing afterwards, since another machine demoted `promoted` at that moment;
    one of the images then has its tag again.
    """
    inventory, standing = _standing(target, glance, promoted)
    rotation = rotate(inventory, target, promoted=standing, usage=Usage(), seen=seen)
    for image in rotation.demote:
        with suppress(MissingImageError):  # others deleted it meanwhile, which is as good
            if image.property("retrofit_target") == target.name:
                # First: an image without tag and mark was demoted by somebody else, on purpose.
                glance.update(image.id, {"retrofit_demoted_at": _now()})
            glance.untag(image.id, target.publish.tag)
            report.demoted.append(image.id)
            log.info("image demoted", image_id=image.id, name=image.name)
    for image in rotation.set_aside:
        with suppress(MissingImageError):
            set_aside(glance, image)
    for image in rotation.hide:
        with suppress(MissingImageError):
            glance.update(image.id, {"os_hidden": True})
    if rotation.demote:
        _give_back_if_needed(target, glance, report, promoted)


def _give_back_if_needed(
    target: Target, glance: Glance, report: RunReport, promoted: str | None
) -> None:
    """Promote an image again where others have left Octavia with none since this run demoted some.

    Either what they demoted, or else what this run did; what a person decided is not undone. Raises
    PublishError when it did; says nothing where persons decided against all of them.
    """
    tag = target.publish.tag
    if glance.octavia_takes(tag, owner=glance.project_id) is not None:
        return
    images = {image.id: image for image in take_inventory(target, glance).ours(target.name)}
    for image_id in (promoted, *report.demoted):
        image = images.get(image_id or "")
        if image is None or not is_usable(image) or _was_taken_away_by_hand(image, tag):
            continue
        promote(target, glance, report, image)
        raise PublishError(
            f"Octavia found no image: {promoted} was demoted or taken away while the others were"
            f" demoted; {image.id} has its tag again",
            hint=f"whatever manages images besides should leave these; {SHARE_THE_LOCK}",
        )


def _was_taken_away_by_hand(image: Image, tag: str) -> bool:
    """Say whether a person demoted an image, or hid it: what we demote loses its tag as well."""
    return is_set_aside(image, tag) or (image.hidden and tag in image.tags)


def retire(target: Target, glance: Glance, report: RunReport, *, promoted: str | None) -> None:
    """Delete what retention no longer wants; only reached when nothing in this run failed.

    Octavia is asked after the demotion: whatever starts from now on starts from another image.
    Raises PublishError where others took the promoted image away since, and one that this run
    demoted has its tag again.
    """
    inventory, standing = _standing(target, glance, promoted)
    if standing is None and report.demoted:
        _give_back_if_needed(target, glance, report, promoted)
    used = usage_where_needed(inventory, target, promoted=standing)
    rotation = rotate(inventory, target, promoted=standing, usage=used)
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
            hint=_why_not(ours, promoted, target),
        )
    anybody = glance.octavia_takes(tag)
    if anybody is not None and anybody.id != promoted.id:
        report.notes.append(
            f"without amp_image_owner_id Octavia takes image {anybody.id} of project"
            f" {anybody.owner}: set amp_image_owner_id = {glance.project_id} in octavia.conf"
        )


def _why_not(taken: Image | None, promoted: Image, target: Target) -> str:
    """Say how it may be that Octavia takes another image than the promoted one, and the way out."""
    if taken is None or octavia_order(taken) < octavia_order(promoted):
        return f"somebody hid {promoted.id}, or took its tag or its data away: run again"
    if taken.property("retrofit_target") == target.name:
        return f"another machine promoted it meanwhile: {SHARE_THE_LOCK}"
    return (
        f"another image of this project carries the tag {target.publish.tag} and was created later:"
        " remove its tag"
    )
