"""The bytes of an image, as proven by reading them: what to read, and what follows; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from retrofit.config import Target
from retrofit.config.numbers import NEVER, hours
from retrofit.model import Image
from retrofit.plan.image_state import DAMAGED_AT
from retrofit.plan.inventory import Inventory
from retrofit.times import iso

ENDS = "retrofit_image_ends"
READ_AT = "retrofit_read_at"


@dataclass(frozen=True, kw_only=True)
class Presence:
    """The outcome of reading an image's bytes.

    `damage` is why they are not those that were verified, `unknown` why that is not known, both as
    sentences; `changes` are the properties to record.
    """

    image_id: str
    damage: str | None = None
    unknown: str | None = None
    changes: Mapping[str, str | None] = field(default_factory=dict)

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator has to know."""
        return tuple(each for each in (self.damage, self.unknown) if each)


def is_reread_due(image: Image, target: Target, now: datetime) -> bool:
    """Return True if all bytes have to be read, not the first and last block alone.

    That is at the interval of `publish.reread`, for an image whose blocks nobody recorded (0.1.0
    did not), and for one that was damaged: only all of it proves that it is whole again.
    """
    if image.property(DAMAGED_AT):
        return True
    if target.publish.reread == NEVER:
        return False
    read = image.time(READ_AT)
    due = read is None or now - read >= hours(target.publish.reread)
    return due or not image.property(ENDS)


def present(image: Image, now: datetime, *, whole: bool, ends: str | None = None) -> Presence:
    """Return the presence of bytes that were read and are right."""
    changes: dict[str, str | None] = {}
    if whole:
        changes[READ_AT] = iso(now)
        if image.property(DAMAGED_AT):
            changes[DAMAGED_AT] = None
        if ends is not None and image.property(ENDS) != ends:
            changes[ENDS] = ends
    return Presence(image_id=image.id, changes=changes)


def damaged(image: Image, now: datetime, why: str) -> Presence:
    """Return the presence of bytes that are gone, or are others."""
    known = image.property(DAMAGED_AT)
    return Presence(
        image_id=image.id,
        damage=f"the bytes of image {image.id} are not those that were verified: {why}",
        changes={} if known else {DAMAGED_AT: iso(now)},
    )


def with_presence(inventory: Inventory, presence: Presence) -> Inventory:
    """Return the inventory as it is once the presence is recorded."""
    changed = {key: value for key, value in presence.changes.items() if value is not None}

    def updated(image: Image) -> Image:
        if image.id != presence.image_id:
            return image
        kept = {k: v for k, v in image.properties.items() if k not in presence.changes}
        return replace(image, properties={**kept, **changed})

    return replace(inventory, images=tuple(map(updated, inventory.images)))
