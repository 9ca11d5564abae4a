"""The state of an amphora image: the one place that derives it from what Glance shows; pure."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self

from retrofit.config import Target
from retrofit.model import Image

PROMOTED_AT = "retrofit_promoted_at"
DEMOTED_AT = "retrofit_demoted_at"
REJECTED_AT = "retrofit_rejected_at"
DAMAGED_AT = "retrofit_damaged_at"
"""Since when the bytes are known to be gone from Glance's store, or to be others."""
OLD_REJECTED_AT = "retrofit_set_aside_at"
"""As 0.1.0 calls it: read as well, and written beside the new name through 0.2, since a machine of
0.1.0 that shares the target reads this one only."""


class ImageState(StrEnum):
    """The state of one amphora image of a target, as far as it depends on that image alone.

    `condition` is when an image is in this state, the first that applies from above; `meaning` is
    what follows for runs and operators.
    """

    condition: str
    meaning: str

    def __new__(cls, value: str, condition: str, meaning: str) -> Self:
        """Give a state its word and its row of the table."""
        state = str.__new__(cls, value)
        state._value_ = value
        state.condition = condition
        state.meaning = meaning
        return state

    UNFINISHED = (
        "unfinished",
        "status is queued, saving, uploading or importing",
        "An upload is going on, or its run died; the next run deletes what a dead run left.",
    )
    PROMOTED = (
        "promoted",
        "active, visible, carries the tag, is not marked as rejected, and holds the verified bytes",
        "Octavia starts amphorae from it. Of several, Octavia selects the one created last.",
    )
    DAMAGED = (
        "damaged",
        "as promoted, but its bytes are not those that were verified",
        "Octavia starts amphorae from it. The next run builds a new image.",
    )
    DEMOTION_PENDING = (
        "demotion_pending",
        "active, visible, carries the tag, and is marked as rejected",
        "A rollback or promotion is going on or was interrupted; the next run removes the tag.",
    )
    REJECTED = (
        "rejected",
        "is marked as rejected",
        "A person preferred another image. No run promotes it again, whatever else there is.",
    )
    UNTAGGED = (
        "untagged",
        "was promoted, and lost the tag without a mark of retrofit",
        "Somebody removed the tag with other tools. Where Octavia finds no image at all, it is"
        " promoted again; else the next run marks it as rejected.",
    )
    UNUSABLE = (
        "unusable",
        "is not active, or its bytes are not those that were verified",
        "It cannot be promoted, and does not count for publish.keep.",
    )
    HIDDEN = (
        "hidden",
        "carries the tag, and is hidden",
        "Somebody hid it, so that Octavia does not see it. A run shows it again only where Octavia"
        " finds no image at all.",
    )
    DEMOTED = (
        "demoted",
        "was promoted, and demoted by retrofit",
        "publish.keep and publish.retire_after decide how long it stays. A rollback returns to it.",
    )
    READY = (
        "ready",
        "was never promoted",
        "It was built, verified and uploaded; the next run promotes it if it is current.",
    )


SERVING_STATES = frozenset({ImageState.PROMOTED, ImageState.DAMAGED, ImageState.DEMOTION_PENDING})
"""States of the images that Octavia's query returns."""
REJECTED_STATES = frozenset({ImageState.DEMOTION_PENDING, ImageState.REJECTED, ImageState.UNTAGGED})
"""States of the images that a person rejected; only a person promotes them again."""
REMOVED_STATES = REJECTED_STATES | {ImageState.HIDDEN}
"""Those, and of the images that a person hid from Octavia; no run promotes one by itself."""


def image_state(image: Image, target: Target) -> ImageState:
    """Return the state of an image of a target; every image has exactly one."""
    tagged = bool(image.tags.intersection(own_tags(target)))
    if image.is_unfinished:
        return ImageState.UNFINISHED
    if tagged and is_visible(image):
        if is_rejected(image):
            return ImageState.DEMOTION_PENDING
        return ImageState.PROMOTED if is_whole(image) else ImageState.DAMAGED
    if is_rejected(image):
        return ImageState.REJECTED
    was_promoted, was_demoted = image.property(PROMOTED_AT), image.property(DEMOTED_AT)
    if not tagged and was_promoted and not was_demoted:
        return ImageState.UNTAGGED
    if not is_usable(image):
        return ImageState.UNUSABLE
    if tagged:
        return ImageState.HIDDEN
    return ImageState.DEMOTED if was_promoted or was_demoted else ImageState.READY


def image_state_rows() -> list[tuple[str, str, str]]:
    """Return the table of the states for the documentation: state, condition, meaning."""
    return [(state.value, state.condition, state.meaning) for state in ImageState]


def is_eligible(image: Image, tag: str) -> bool:
    """Return True if Octavia's query returns the image, whoever made it: tagged, active, visible.

    The query is octavia's glance_driver.get_image_id_by_tag.
    """
    return tag in image.tags and is_visible(image)


def is_visible(image: Image) -> bool:
    """Return True if Octavia's query finds the image by any tag that it carries."""
    return image.status == "active" and not image.hidden


def own_tags(target: Target) -> tuple[str, ...]:
    """Return the tags by which Octavia may look for a target's image, the present one first.

    As long as a former tag is configured, Octavia may be configured with it as well: promoted
    images carry all of them.
    """
    return (target.publish.tag, *target.publish.former_tags)


def is_whole(image: Image) -> bool:
    """Return True if an image holds the very bytes that its run built and verified.

    As far as Glance's record tells, and no look at the bytes themselves found them gone.
    """
    recorded = image.property("retrofit_image_hash")
    return bool(
        not image.property(DAMAGED_AT)
        and image.size
        and image.hash_value
        and recorded == f"{image.hash_algo}:{image.hash_value}"
    )


def is_usable(image: Image) -> bool:
    """Return True if an image could be promoted, were it wanted: active, and whole."""
    return image.status == "active" and is_whole(image)


def is_rejected(image: Image) -> bool:
    """Return True if an image carries a rejection that is in force, by either name."""
    if image.property(OLD_REJECTED_AT):
        return True
    if not image.property(REJECTED_AT):
        return False
    # Both names are written: the new one alone is what is left where a machine of 0.1.0 promoted
    # the image since, which removes the name that it knows.
    promoted, rejected = image.time(PROMOTED_AT), image.time(REJECTED_AT)
    return promoted is None or rejected is None or promoted <= rejected


def rejected_at(image: Image) -> datetime | None:
    """Return when an image was rejected last; None without a mark that can be read."""
    marks = [image.time(name) for name in (REJECTED_AT, OLD_REJECTED_AT)]
    return max((mark for mark in marks if mark is not None), default=None)


def rejection(when: datetime | None) -> dict[str, str | None]:
    """Return the properties to set so that an image is rejected; None takes a rejection away."""
    text = None if when is None else when.isoformat(timespec="seconds")
    return dict.fromkeys((REJECTED_AT, OLD_REJECTED_AT), text)
