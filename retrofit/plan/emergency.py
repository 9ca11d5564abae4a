"""What to do where Octavia finds no image at all: which image comes back, and which must not; pure.

Without an image no load balancer starts or fails over. So an image that works comes first, whatever
its age; only what a person rejected through retrofit waits for a person.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from retrofit.config import Target
from retrofit.model import Image
from retrofit.plan.image_state import (
    ImageState,
    image_state,
    is_eligible,
    is_rejected,
    is_usable,
    own_tags,
)
from retrofit.plan.inventory import Inventory, promoted_image
from retrofit.plan.proof import shortfalls
from retrofit.times import iso

STATES = {
    ImageState.HIDDEN: "hidden, and not by retrofit",
    ImageState.UNTAGGED: "without its tag, and not by retrofit",
}


@dataclass(frozen=True, kw_only=True)
class Emergency:
    """Octavia finds no image: `candidates` may be promoted, the first that works.

    `why` is what became of the image that was promoted; `exceptions` are the images that are not
    promoted by themselves, each with the reason and the command that does.
    """

    why: str
    candidates: tuple[Image, ...]
    exceptions: tuple[str, ...]

    def sentence(self) -> str:
        """Return the emergency as one sentence, for warnings."""
        return f"Octavia finds no image: {self.why}"


def emergency(inventory: Inventory, target: Target) -> Emergency | None:
    """Return what to do where Octavia finds nothing by the target's tags; None where it does.

    Nor is it one as long as nothing was ever made: the first run does that.
    """
    if promoted_image(inventory, target) is not None or _others_serve(inventory, target):
        return None
    ours = [image for image in inventory.ours(target) if not image.is_unfinished]
    if not ours:
        return None
    candidates, exceptions = [], []
    for image in ours:
        if not is_usable(image):
            continue
        missing = shortfalls(image, target)
        if is_rejected(image):
            exceptions.append(
                f"image {image.id} is rejected: only a person promotes it, by"
                f" `retrofit promote {image.id}`"
            )
        elif missing:
            exceptions.append(
                f"{missing[0]}: only a person promotes it, by `retrofit promote {image.id}`"
            )
        else:
            candidates.append(image)
    return Emergency(
        why=_why(ours, target), candidates=tuple(candidates), exceptions=tuple(exceptions)
    )


def reason(image: Image, target: Target) -> str:
    """Return why an image is promoted in an emergency."""
    state = STATES.get(image_state(image, target))
    was = f", which was {state}," if state else ""
    return f"Octavia found no image: {image.id}{was} is the newest that works and may be promoted"


def paused_emergency(found: Emergency, target: Target) -> str:
    """Return what a person has to know where a pause keeps every run from promoting an image."""
    commands = [f"`retrofit promote {image.id}`" for image in found.candidates[:1]]
    ways = " or ".join([*commands, f"`retrofit --target {target.name} resume`"])
    return f"{found.sentence()}; the target is paused, so nothing is promoted by itself: {ways}"


def ways_out(found: Emergency, target: Target, *, paused: bool) -> tuple[str, ...]:
    """Return how an image comes back: by itself, and by which command of a person."""
    if paused:
        return (paused_emergency(found, target),)
    command = f"retrofit --target {target.name}"
    if found.candidates:
        first = found.candidates[0].id
        return (
            f"{found.sentence()}: the next run promotes image {first}, `{command} repair` at once",
        )
    return (
        f"{found.sentence()}, and none may be promoted by itself: `{command} run-once` builds one",
        *found.exceptions,
    )


def with_promoted(inventory: Inventory, image: Image, target: Target) -> Inventory:
    """Return the inventory as it is once an image is promoted."""
    tags = image.tags.union(own_tags(target))
    back = replace(image, hidden=False, tags=tags)
    images = tuple(back if each is image else each for each in inventory.images)
    return replace(inventory, images=images)


def _others_serve(inventory: Inventory, target: Target) -> bool:
    """Return True if Octavia finds an image of our project that is not ours: the charm's, say."""
    return any(
        image.owner == inventory.own_project and is_eligible(image, tag)
        for image in inventory.images
        for tag in own_tags(target)
    )


def _why(ours: list[Image], target: Target) -> str:
    """Return what became of the image that was promoted last, as far as Glance shows it."""
    for image in ours:
        state = image_state(image, target)
        tagged = bool(image.tags.intersection(own_tags(target)))
        if image.status != "active" and tagged:
            return f"image {image.id} is {image.status}{_changed(image)}"
        if state in STATES:
            return f"image {image.id} is {STATES[state]}{_changed(image)}"
    return "none is promoted, and none carries the tag"


def _changed(image: Image) -> str:
    """Return when Glance last changed a record: who did it is in Glance's own log."""
    return f" (last changed at {iso(image.updated_at)})" if image.updated_at else ""
