"""Which images are demoted, hidden and retired, and which stay although retention lets them go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from retrofit.config import Target
from retrofit.config.numbers import NEVER, Period, hours
from retrofit.model import Image, Usage, version_key
from retrofit.plan.companions import tagged as tagged_companions
from retrofit.plan.identity import made_by
from retrofit.plan.image_state import (
    DEMOTED_AT,
    PROMOTED_AT,
    REJECTED_STATES,
    ImageState,
    image_state,
    is_usable,
    own_tags,
    rejected_at,
)
from retrofit.plan.inventory import Inventory, octavia_order
from retrofit.plan.pause import in_force, pauses_on

CLOCK_SKEW = timedelta(minutes=10)
"""How far the clocks of two controllers may be apart."""


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What happens to the other images of a target once one is promoted.

    `reject` are images that others demoted or hid: they are marked before anything else is done to
    them, and from then on it counts since when. `kept` are the reasons of all that stay and are not
    in `notes`: they matter to a person who asks, and to no run.
    """

    demote: tuple[Image, ...]
    hide: tuple[Image, ...]
    retire: tuple[Image, ...]
    notes: tuple[str, ...]
    reject: tuple[Image, ...] = ()
    kept: tuple[str, ...] = ()


NOTHING = Rotation(demote=(), hide=(), retire=(), notes=())


def rotate(
    inventory: Inventory,
    target: Target,
    *,
    promoted: str | None,
    usage: Usage,
    known_ids: Collection[str] | None = None,
) -> Rotation:
    """Return which other images of the target lose the tag, are hidden, and are deleted.

    `known_ids` are those of the images that the promotion was decided upon (None: all of these).
    What came after them leaves only where it is older than the promoted one: two machines without a
    common lock may promote at the same moment, and if each took the other's tag away, Octavia would
    find nothing. So both leave it to the newer one.

    Without a promoted image nothing is rotated at all. Images newer than the promoted one are
    never retired, nor are those that hold what would be built now: they record which source and
    recipe a rollback rejected.
    """
    rules = target.publish
    ours = inventory.ours(target)
    current = next((image for image in ours if image.id == promoted), None)
    if current is None:
        return NOTHING
    others = [image for image in ours if image is not current and not image.is_unfinished]
    kept, unwanted = _retention(others, current, target)
    adopted = inventory.of_the_charm(target) if rules.replace_charm_images else []
    tags, identity = {*own_tags(target)}, inventory.identity(target)
    shared = {
        image.id: f"carries the tag {foreign[0]} besides ours: it keeps its tags, and stays"
        for image in (*others, *adopted)
        if (foreign := identity.foreign_tags(image)) and (tags & image.tags or image in unwanted)
    }
    stays = {
        image.id: why
        for image in unwanted
        if image.id not in shared
        and (why := _stays(image, inventory, target, usage, [current, *kept]))
    }
    stays = {**shared, **stays}

    def leaves(image: Image) -> bool:
        if identity.foreign_tags(image):
            return False
        known = known_ids is None or image.id in known_ids
        return known or octavia_order(image) < octavia_order(current)

    return Rotation(
        demote=tuple(
            image
            for image in (*others, *adopted, *tagged_companions(inventory, target))
            if tags & image.tags and leaves(image)
        ),
        hide=tuple(
            image
            for image in others
            if rules.hide
            and leaves(image)
            and not image.hidden
            and (tags & image.tags or image.property(PROMOTED_AT))
        ),
        retire=tuple(image for image in unwanted if image.id not in stays),
        notes=tuple(f"image {image_id} {why}" for image_id, why in stays.items()),
        kept=(
            f"image {current.id} is promoted: kept",
            *(
                f"image {image.id} {_why_kept(image, kept, target)}"
                for image in others
                if image not in unwanted and image.id not in shared
            ),
        ),
        reject=tuple(
            image
            for image in others
            if image_state(image, target) is ImageState.UNTAGGED
            or (image_state(image, target) is ImageState.HIDDEN and leaves(image))
        ),
    )


def _why_kept(image: Image, kept: Sequence[Image], target: Target) -> str:
    """Return why retention does not want an image to go."""
    if image in kept:
        return f"is among the newest that publish.keep = {target.publish.keep} keeps"
    return "is newer than the promoted one, or was rejected for an older one: kept as a record"


def _retention(
    others: Iterable[Image], current: Image, target: Target
) -> tuple[list[Image], list[Image]]:
    """Return which other images `publish.keep` keeps, and which it lets go."""
    # A rollback goes back to what has served: that comes before what a dead run never promoted.
    usable = [image for image in others if is_usable(image)]
    kept = sorted(usable, key=lambda image: not _has_served(image, target))
    kept = kept[: target.publish.keep - 1]
    return kept, [
        image
        for image in others
        if image not in kept
        and octavia_order(image) < octavia_order(current)
        and not _was_rejected_for_an_older(image, current, target)
    ]


def displaced(inventory: Inventory, target: Target, *, promoted: str | None) -> tuple[Image, ...]:
    """Return the images that `publish.keep` keeps now, and not once a new image is promoted."""
    ours = [image for image in inventory.ours(target) if not image.is_unfinished]
    current = next((image for image in ours if image.id == promoted), None)
    if current is None:
        return ()
    new = replace(current, id="new", created_at=inventory.now)
    _, before = _retention([image for image in ours if image is not current], current, target)
    _, after = _retention(ours, new, target)
    return tuple(image for image in after if image not in before)


def retires_unless_used(inventory: Inventory, target: Target, *, promoted: str | None) -> bool:
    """Return True if an image would be retired were nothing in use: Octavia is asked only then."""
    return bool(rotate(inventory, target, promoted=promoted, usage=Usage()).retire)


def _has_served(image: Image, target: Target) -> bool:
    """Return True if Octavia may have selected an image, now or ever."""
    # Where a run died between tag and mark, or others tagged it, only its demotion is recorded.
    tagged = bool(image.tags.intersection(own_tags(target)))
    return tagged or any(map(image.property, (PROMOTED_AT, DEMOTED_AT)))


def _was_rejected_for_an_older(image: Image, current: Image, target: Target) -> bool:
    """Return True if a person rejected an image of a newer source or recipe than the current one's.

    Mostly it was created later as well, but not where a clock was set back between the two.
    """
    rejected = image_state(image, target) in REJECTED_STATES
    if not rejected or _differ(image, current, "source_product_name"):
        return False
    theirs, ours = (
        version_key(each.property("source_version_name") or "") for each in (image, current)
    )
    return theirs > ours or (theirs == ours and _differ(image, current, "retrofit_recipe"))


def _differ(image: Image, other: Image, key: str) -> bool:
    """Return True if two images differ in a property."""
    return image.property(key) != other.property(key)


def _stays(
    image: Image, inventory: Inventory, target: Target, usage: Usage, kept: Iterable[Image]
) -> str | None:
    """Return why an image that retention lets go has to stay for now; None when it has not.

    `kept` are those that stay anyway: a pause must be on one of them at least.
    """
    rules = target.publish
    if image.protected:
        return "is protected: kept"
    ready = image_state(image, target) is ImageState.READY
    if ready and inventory.machine.is_of_another(image):
        return (
            f"was uploaded by {made_by(image)}, which shares no lock with this machine and may"
            f" promote it yet: kept; set lock.url, or delete it: openstack image delete {image.id}"
        )
    if in_force(pauses_on([image]), inventory.now) and not in_force(pauses_on(kept), inventory.now):
        return f"carries a pause: kept until `retrofit --target {target.name} resume`"
    running = sum(amphora.image_id == image.id for amphora in usage.amphorae)
    if running:
        return f"is in use by {running} amphora{'e' if running > 1 else ''}: kept"
    left = _left_at(image, inventory, target)
    starting = [
        amphora.id
        for amphora in usage.amphorae
        if amphora.image_id is None
        and amphora.is_starting
        and amphora.created_at <= left + CLOCK_SKEW
    ]
    if starting:
        return f"may be what amphora {starting[0]} starts from: kept until that is known"
    unknown = usage.unknown or _of_unknown_image(usage, left)
    if unknown is None:
        if (stay := _stay(left, rules.retire_after, inventory.now)) is not None:
            return f"{stay} (publish.retire_after)"
        return None
    longest = max(rules.retire_after, rules.retire_after_unknown, key=hours)
    if (stay := _stay(left, longest, inventory.now)) is not None:
        return f"{stay} (publish.retire_after_unknown): amphorae may still run on it, and {unknown}"
    if usage.required and usage.unknown is not None:
        return f'stays until Octavia answers (octavia.query = "require"): {usage.unknown}'
    return None


def _of_unknown_image(usage: Usage, left: datetime) -> str | None:
    """Return which amphorae may run on an image that left at that time, Octavia not knowing theirs.

    Octavia has no image of an amphora that boots from a volume, or whose start failed half way.
    """
    those = [
        amphora.id
        for amphora in usage.amphorae
        if amphora.image_id is None
        and not amphora.is_starting
        and amphora.created_at <= left + CLOCK_SKEW
    ]
    if not those:
        return None
    return f"Octavia does not know the image of {len(those)} of them, such as {those[0]}"


def _stay(left: datetime, period: Period, now: datetime) -> str | None:
    """Return how long an image stays that is useless since `left`; None where it may go."""
    if period == NEVER:
        return "stays for ever"
    free_from = left + hours(period)
    return f"stays until {free_from:%Y-%m-%d %H:%M} UTC" if free_from > now else None


def _left_at(image: Image, inventory: Inventory, target: Target) -> datetime:
    """Return since when Octavia cannot have selected an image, at the latest.

    That is its mark of demotion, yet no earlier than its successor's `created_at`: machines write
    marks, whose clocks may be wrong, and Glance alone writes the other. An image that never was
    promoted has been useless since the next newer one was created.
    """
    untagged = image_state(image, target) is ImageState.UNTAGGED
    if image.tags.intersection(own_tags(target)) or untagged:
        return inventory.now  # it is promoted as yet, or was until an unknown time
    newer = [
        other
        for other in inventory.ours(target)
        if octavia_order(other) > octavia_order(image) and not other.is_unfinished
    ]
    marks = [mark for mark in (image.time(DEMOTED_AT), rejected_at(image)) if mark is not None]
    if not marks:
        return min((other.created_at for other in newer), default=inventory.now)
    successors = [other for other in newer if _has_served(other, target)] or newer
    return max(*marks, *(other.created_at for other in successors[-1:]))
