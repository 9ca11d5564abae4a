"""Promote, demote, retire: make before break, and every step after another look at Glance."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType

import structlog

from retrofit.cloud import Glance, MissingImageError, Removal
from retrofit.config import Target
from retrofit.errors import PublishError
from retrofit.model import Image, Usage
from retrofit.observe.presence import read_all
from retrofit.observe.target import take_inventory, usage_where_needed
from retrofit.plan import (
    Identity,
    Inventory,
    Machine,
    in_force,
    is_usable,
    octavia_order,
    own_tags,
    pauses_on,
    promoted_image,
    rotate,
)
from retrofit.plan.authorship import DEMOTED_BY, PROMOTED_BY, REJECTED_BY
from retrofit.plan.carry_over import missing_tags
from retrofit.plan.companions import EVIDENCE_OF
from retrofit.plan.identity import whose
from retrofit.plan.image_state import (
    DEMOTED_AT,
    PROMOTED_AT,
    REMOVED_STATES,
    image_state,
    is_rejected,
    is_visible,
    rejection,
)
from retrofit.plan.pause import PROPERTY as PAUSED
from retrofit.publish.evidence import delete_evidence
from retrofit.publish.look_again import look_again
from retrofit.runs.report import RunReport
from retrofit.times import iso

log = structlog.get_logger(__name__)

SHARE_THE_LOCK = "machines that run the same target need the same lock.url"


def promote(
    target: Target,
    glance: Glance,
    report: RunReport,
    image: Image,
    *,
    instead_of: Iterable[Image] = (),
) -> None:
    """Tag an image, once it is seen to be active and whole; the others keep their tag as yet.

    All its bytes are read before. `instead_of` are those that a person wants it in place of: they
    are rejected before it is tagged, so that no run after a death in here undoes what was wanted,
    and only once it is known to be fit. Raises PublishError where it is not.
    """
    presence = read_all(image, glance, glance.clock().now)
    current = _usable(glance, image)
    if presence.damage is not None:
        glance.update(image.id, presence.changes)
        # Who plans again now has to see that.
        look_again(
            lambda: glance.get(image.id),
            lambda seen: seen is None or presence.changes.items() <= seen.properties.items(),
        )
        raise PublishError(
            f"cannot promote {image.id}: {presence.damage}",
            hint=f"check the Glance store; `retrofit --target {target.name} run-once --force`"
            " builds a new image",
        )
    report.notes.extend(presence.warnings())
    rejected = tuple(instead_of)
    for other in rejected:
        reject(glance, report, other)
    if rejected:  # nothing is written between the last look and the tag
        current = _usable(glance, image)
    # One call, and before the tag: with tag and rejection it would count as half rolled back.
    changes = {
        **({"os_hidden": False} if current.hidden else {}),
        **(rejection(None) if is_rejected(current) else {}),
    }
    if changes:
        glance.update(image.id, changes)
    for tag in own_tags(target):
        glance.tag(image.id, tag)
    _mark_promoted(glance, report, image, presence.changes)
    report.promoted.append(image.id)
    report.image_id, report.image_created_at = image.id, image.created_at
    log.info("image promoted", image_id=image.id, name=image.name)


def _usable(glance: Glance, image: Image) -> Image:
    """Return an image as it is now. Raises PublishError where Octavia could not use it."""
    current = look_again(
        lambda: glance.get(image.id), lambda seen: seen is not None and is_usable(seen)
    )
    if current is None or not is_usable(current):
        state = "gone" if current is None else f'"{current.status}", {current.size} bytes'
        raise PublishError(
            f"cannot promote {image.id}: image is {state}, expected what was built and verified",
            hint="somebody changed it after its upload; run again to build a new one",
        )
    return current


def _mark_promoted(
    glance: Glance,
    report: RunReport,
    image: Image,
    further: Mapping[str, str | None] = MappingProxyType({}),
) -> None:
    """Record that an image was promoted, and is no longer what it may have been before that."""
    now = glance.clock().now  # by the clock that later decides how long ago it was
    marks = {
        PROMOTED_AT: iso(now),
        PROMOTED_BY: report.authorship(now).as_property(),
        DEMOTED_AT: None,
        DEMOTED_BY: None,
        REJECTED_BY: None,
        **rejection(None),
    }
    glance.update(image.id, {**marks, **further})


def reject(glance: Glance, report: RunReport, image: Image) -> None:
    """Record that a person prefers another image: no run promotes this one by itself."""
    now = glance.clock().now
    author = report.authorship(now).as_property()
    glance.update(image.id, {**rejection(now), REJECTED_BY: author})


def accept(glance: Glance, image: Image) -> None:
    """Take a rejection back, as a person ordered."""
    glance.update(image.id, {**rejection(None), REJECTED_BY: None})


def _confirmed(
    target: Target,
    glance: Glance,
    report: RunReport,
    promoted: str | None,
    machine: Machine | None = None,
) -> tuple[Inventory, str | None]:
    """Look again; return no id unless `promoted` is seen where Octavia selects it.

    Nor where another one is promoted, since a person rejected this one meanwhile. Without an id no
    other image is demoted or retired.
    """

    def find(inventory: Inventory) -> Image | None:
        return next((image for image in inventory.images if image.id == promoted), None)

    def is_selected(inventory: Inventory) -> bool:
        found = find(inventory)
        return found is not None and is_visible(found) and bool(found.tags & {*own_tags(target)})

    inventory = look_again(
        lambda: take_inventory(target, glance, machine),
        lambda seen: promoted is None or is_selected(seen),
    )
    current = find(inventory)
    if current is None or not is_selected(inventory):
        return inventory, None
    if is_rejected(current) and promoted_image(inventory, target) is not current:
        return inventory, None
    for tag in missing_tags(current, target):  # its run died between two tags
        glance.tag(current.id, tag)
    stale = (DEMOTED_AT, *rejection(None))
    # A rejection stays, even where nothing else is promoted: only a person takes it back.
    if not is_rejected(current) and (
        not current.property(PROMOTED_AT) or any(map(current.property, stale))
    ):
        _mark_promoted(glance, report, current)  # its run died between tag and mark
    pause = in_force(pauses_on(inventory.ours(target)), inventory.now)
    if pause is not None and not current.property(PAUSED):
        # Ordered while this run was under way; the images that carry it may go.
        glance.update(current.id, {PAUSED: json.dumps(pause.as_dict())})
    return inventory, current.id


def demote_others(
    target: Target,
    glance: Glance,
    report: RunReport,
    *,
    promoted: str | None,
    known_ids: Collection[str],
) -> None:
    """Remove the tag of every other image of the target, and hide them.

    `known_ids` are those of the images that this was decided upon; see `rotate`. Raises
    PublishError when Octavia finds nothing afterwards, since another machine demoted `promoted` at
    that moment; one of the images then has its tag again.
    """
    inventory, confirmed = _confirmed(target, glance, report, promoted)
    rotation = rotate(inventory, target, promoted=confirmed, usage=Usage(), known_ids=known_ids)
    # First: what a person hid is not known from what we demoted once it has lost its tag.
    for image in rotation.reject:
        with suppress(MissingImageError):
            reject(glance, report, image)
    for image in rotation.demote:
        with suppress(MissingImageError):  # others deleted it meanwhile, which is as good
            if inventory.whose(image, target).ours:
                # First: an image without tag and mark was demoted by somebody else, on purpose.
                now = glance.clock().now
                author = report.authorship(now).as_property()
                glance.update(image.id, {DEMOTED_AT: iso(now), DEMOTED_BY: author})
            elif image.property(EVIDENCE_OF) is not None:
                glance.update(image.id, {"os_hidden": True})  # as all evidence is
            for tag in own_tags(target):
                if tag in image.tags:
                    glance.untag(image.id, tag)
            report.demoted.append(image.id)
            log.info("image demoted", image_id=image.id, name=image.name)
    for image in rotation.hide:
        with suppress(MissingImageError):
            glance.update(image.id, {"os_hidden": True})
    if rotation.demote:
        _promote_again_if_needed(target, glance, report, promoted)


def _promote_again_if_needed(
    target: Target, glance: Glance, report: RunReport, promoted: str | None
) -> None:
    """Promote an image again where others have left Octavia with none since this run demoted some.

    Either what they demoted, or else what this run did; what a person rejected is not promoted.
    Raises PublishError when it did, and does nothing where persons rejected all of them.
    """
    if look_again(
        lambda: all(glance.octavia_image(tag, owner=glance.project_id) for tag in own_tags(target)),
        bool,
    ):
        return
    images = {image.id: image for image in take_inventory(target, glance).ours(target)}
    for image_id in (promoted, *report.demoted):
        image = images.get(image_id or "")
        if image is None or not is_usable(image) or _was_removed(image, target):
            continue
        promote(target, glance, report, image)
        raise PublishError(
            f"Octavia found no image: {promoted} was demoted or removed while the others were"
            f" demoted; {image.id} has its tag again",
            hint=f"other tools that manage images have to leave these alone; {SHARE_THE_LOCK}",
        )


def _was_removed(image: Image, target: Target) -> bool:
    """Return True if a person demoted an image, or hid it: what we demote loses its tag as well."""
    return image_state(image, target) in REMOVED_STATES


def retire(
    target: Target,
    glance: Glance,
    report: RunReport,
    *,
    promoted: str | None,
    strict: bool = False,
    machine: Machine | None = None,
) -> None:
    """Delete what retention no longer wants; only reached when nothing in this run failed.

    Octavia is asked after the demotion: whatever starts from now on starts from another image.
    Where its answer is required and does not come, nothing is deleted: `strict` makes that a
    CloudError, else it is noted. `machine` is what the lock excludes (None: all other runs).
    Raises PublishError where others took the promoted image away since, and one that this run
    demoted has its tag again.
    """
    inventory, confirmed = _confirmed(target, glance, report, promoted, machine)
    if confirmed is None and report.demoted:
        _promote_again_if_needed(target, glance, report, promoted)
    used = usage_where_needed(inventory, target, promoted=confirmed, strict=strict)
    if used.required:
        log.warning("nothing retired: Octavia does not answer", reason=used.unknown)
    rotation = rotate(inventory, target, promoted=confirmed, usage=used)
    report.notes.extend(rotation.notes)
    for image in rotation.retire:
        delete_evidence(image, inventory, target, glance)
        removal = glance.delete(image.id)
        if removal in {Removal.DELETED, Removal.GONE}:
            report.retired.append(image.id)
            log.info("image retired", image_id=image.id, name=image.name)
        else:
            report.notes.append(f"image {image.id} could not be deleted ({removal}): later")


def require_octavia_selects(
    target: Target, glance: Glance, report: RunReport, promoted: Image
) -> None:
    """Make Octavia's own query, and require that it returns the promoted image.

    Raises PublishError when it finds another one of our project; one of another project, which
    amp_image_owner_id keeps away, is noted.
    """
    for tag in own_tags(target):
        _require_selected_by(tag, target, glance, report, promoted)


def _require_selected_by(
    tag: str, target: Target, glance: Glance, report: RunReport, promoted: Image
) -> None:
    ours = look_again(
        lambda: glance.octavia_image(tag, owner=glance.project_id),
        lambda seen: seen is not None and seen.id == promoted.id,
    )
    if ours is None or ours.id != promoted.id:
        raise PublishError(
            f"Octavia would select image {ours.id if ours else 'none'}, not {promoted.id}",
            hint=_why_not(ours, promoted, tag, target, glance),
        )
    anybody = glance.octavia_image(tag)
    if anybody is not None and anybody.id != promoted.id:
        report.notes.append(
            f"without amp_image_owner_id Octavia selects image {anybody.id} of project"
            f" {anybody.owner}: set amp_image_owner_id = {glance.project_id} in octavia.conf"
        )


def _why_not(
    selected: Image | None, promoted: Image, tag: str, target: Target, glance: Glance
) -> str:
    """Return why Octavia may select another image than the promoted one, and the way out."""
    if selected is None or octavia_order(selected) < octavia_order(promoted):
        return f"somebody hid {promoted.id}, or removed its tag or its data: run again"
    if whose(selected, Identity.of(target, glance.project_id)).ours:
        return f"another machine promoted it meanwhile: {SHARE_THE_LOCK}"
    return (
        f"another image of this project carries the tag {tag} and was created later: remove its tag"
    )
