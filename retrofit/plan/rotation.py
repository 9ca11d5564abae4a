"""Which images leave the stage, and which stay although retention does not want them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from retrofit.config import Target
from retrofit.model import Image, Usage, version_key
from retrofit.plan.inventory import (
    UNFINISHED,
    Inventory,
    is_set_aside,
    is_usable,
    moment,
    octavia_order,
)
from retrofit.plan.pause import in_force, pauses_on

STARTING = frozenset({"BOOTING", "PENDING_CREATE"})
"""Octavia's states of an amphora whose image its API does not tell yet."""
CLOCK_SKEW = timedelta(minutes=10)
"""How far the clocks of two controllers may be apart."""


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What leaves the stage once `promoted` stands on it.

    `set_aside` are images that others demoted: from now on it counts since when.
    """

    demote: tuple[Image, ...]
    hide: tuple[Image, ...]
    retire: tuple[Image, ...]
    notes: tuple[str, ...]
    set_aside: tuple[Image, ...] = ()


NOTHING = Rotation(demote=(), hide=(), retire=(), notes=())


def rotate(
    inventory: Inventory,
    target: Target,
    *,
    promoted: str | None,
    usage: Usage,
    seen: Collection[str] | None = None,
) -> Rotation:
    """Say which other images of the target lose the tag, are hidden, and are deleted.

    `seen` are the ids of the images that the promotion was decided upon (None: all of these). What
    came after them leaves only where it is older than the promoted one: two machines without a
    common lock may promote at the same moment, and if each took the other's tag away, Octavia would
    find nothing. So both leave it to the newer one.

    Without a promoted image nothing is rotated at all. Images newer than the promoted one are
    never retired, nor are those that hold what would be built now: they say which source and recipe
    a rollback decided against.
    """
    rules = target.publish
    ours = inventory.ours(target.name)
    standing = next((image for image in ours if image.id == promoted), None)
    if standing is None:
        return NOTHING
    others = [image for image in ours if image is not standing and image.status not in UNFINISHED]
    # What has stood is what one goes back to: before what a run that died never came to promote.
    usable = [image for image in others if is_usable(image)]
    kept = sorted(usable, key=lambda image: not _has_stood(image, rules.tag))[: rules.keep - 1]
    unwanted = [
        image
        for image in others
        if image not in kept
        and octavia_order(image) < octavia_order(standing)
        and not _was_decided_against(image, standing, rules.tag)
    ]
    stays = {
        image.id: why for image in unwanted if (why := _stays(image, inventory, target, usage))
    }
    adopted = inventory.of_the_charm(target) if rules.adopt else []

    def leaves(image: Image) -> bool:
        known = seen is None or image.id in seen
        return known or octavia_order(image) < octavia_order(standing)

    return Rotation(
        demote=tuple(
            image for image in (*others, *adopted) if rules.tag in image.tags and leaves(image)
        ),
        hide=tuple(
            image
            for image in others
            if rules.hide
            and leaves(image)
            and not image.hidden
            and (rules.tag in image.tags or image.property("retrofit_promoted_at"))
        ),
        retire=tuple(image for image in unwanted if image.id not in stays),
        notes=tuple(f"image {image_id} {why}" for image_id, why in stays.items()),
        set_aside=tuple(image for image in others if _demoted_by_others(image, rules.tag)),
    )


def _has_stood(image: Image, tag: str) -> bool:
    """Say whether Octavia may have taken an image, now or ever."""
    # Where a run died between tag and mark, or others tagged it, only its demotion tells.
    marks = ("retrofit_promoted_at", "retrofit_demoted_at")
    return tag in image.tags or any(map(image.property, marks))


def _was_decided_against(image: Image, standing: Image, tag: str) -> bool:
    """Say whether a person took an image back whose source or recipe is newer than the standing's.

    Mostly it was created later as well, but not where a clock was set back between the two.
    """
    if not is_set_aside(image, tag) or _differ(image, standing, "source_product_name"):
        return False
    theirs, ours = (
        version_key(each.property("source_version_name") or "") for each in (image, standing)
    )
    return theirs > ours or (theirs == ours and _differ(image, standing, "retrofit_recipe"))


def _differ(image: Image, other: Image, key: str) -> bool:
    """Say whether two images differ in a property."""
    return image.property(key) != other.property(key)


def _stays(image: Image, inventory: Inventory, target: Target, usage: Usage) -> str | None:
    """Say why an image that retention does not want has to stay for now; None when it has not."""
    rules = target.publish
    if image.protected:
        return "is protected: kept"
    if in_force(pauses_on([image]), inventory.now):
        return "carries a pause: kept until `retrofit resume`"
    running = sum(amphora.image_id == image.id for amphora in usage.amphorae)
    if running:
        return f"is in use by {running} amphora{'e' if running > 1 else ''}: kept"
    left = _left_at(image, inventory, target)
    starting = [
        amphora.id
        for amphora in usage.amphorae
        if amphora.image_id is None
        and amphora.status in STARTING
        and amphora.created_at <= left + CLOCK_SKEW
    ]
    if starting:
        return f"may be what amphora {starting[0]} starts from: kept until that is known"
    if usage.unknown is None:
        free_from = left + timedelta(hours=rules.retire_after)
        if free_from > inventory.now:
            return f"stays until {free_from:%Y-%m-%d %H:%M} UTC (publish.retire_after)"
        return None
    free_from = left + timedelta(hours=max(rules.retire_after, rules.retire_unasked_after))
    if free_from > inventory.now:
        return (
            f"stays until {free_from:%Y-%m-%d %H:%M} UTC (publish.retire_unasked_after):"
            f" amphorae may still run on it, and {usage.unknown}"
        )
    return None


def _left_at(image: Image, inventory: Inventory, target: Target) -> datetime:
    """Return since when Octavia cannot have taken an image, at the latest.

    Its own mark of demotion says it. One that never was promoted has been useless since the next
    newer image was created.
    """
    tag = target.publish.tag
    if tag in image.tags or _demoted_by_others(image, tag):
        return inventory.now  # it is promoted as yet, or was until nobody knows when
    demoted = moment(image, "retrofit_demoted_at")
    set_aside = moment(image, "retrofit_set_aside_at")
    marks = [mark for mark in (demoted, set_aside) if mark is not None]
    if marks:
        return max(marks)
    successors = [
        other.created_at
        for other in inventory.ours(target.name)
        if octavia_order(other) > octavia_order(image)
    ]
    return min(successors, default=inventory.now)


def _demoted_by_others(image: Image, tag: str) -> bool:
    """Say whether an image was promoted, and lost its tag without our mark."""
    return is_set_aside(image, tag) and not image.property("retrofit_set_aside_at")
