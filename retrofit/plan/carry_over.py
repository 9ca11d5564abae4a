"""Images of ours that record a former identity, or none as those of 0.1.0: what to write; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retrofit.config import Target
from retrofit.errors import ConfigError
from retrofit.model import Image
from retrofit.plan.identity import Basis, other_installation
from retrofit.plan.image_state import SERVING_STATES, image_state, is_rejected, own_tags
from retrofit.plan.inventory import Inventory, ids, promoted_image


@dataclass(frozen=True, kw_only=True)
class CarryOver:
    """An image that gets our present identity: the proof, the properties and the missing tags."""

    image: Image
    reason: str
    properties: Mapping[str, str]
    tags: tuple[str, ...]


def carry_overs(inventory: Inventory, target: Target) -> tuple[CarryOver, ...]:
    """Return the images to carry over, newest first, so that Octavia never selects an older one.

    A promoted image gets every tag by which Octavia may look for it, and loses none: none of the
    tags is ever without an image. So does a rejected one that nothing else stands in for yet; no
    other rejected one: Octavia might select it.
    """
    identity = inventory.identity(target)
    promoted = promoted_image(inventory, target)
    found = []
    for image in inventory.ours(target):
        owned = inventory.whose(image, target)
        if not owned.to_carry_over or image.is_unfinished:
            continue
        found.append(
            CarryOver(
                image=image,
                reason=owned.reason,
                properties=identity.properties_of(image.id),
                tags=missing_tags(image, target)
                if image is promoted or not is_rejected(image)
                else (),
            )
        )
    return tuple(found)


def missing_tags(image: Image, target: Target) -> tuple[str, ...]:
    """Return the tags that Octavia may look for and that a promoted image does not carry."""
    if image_state(image, target) not in SERVING_STATES:
        return ()
    return tuple(tag for tag in own_tags(target) if tag not in image.tags)


def ambiguity(inventory: Inventory, target: Target) -> ConfigError | None:
    """Return the error of a target whose promoted image cannot be proven to be ours.

    A run that went on would ignore the pause, the rejections and the retention that it carries.
    """
    sign = other_installation(inventory.identity(target), inventory.images)
    if sign is None:
        return None
    unproven = [
        image
        for image, owned in inventory.look_alikes(target)
        if owned.basis is Basis.UNPROVEN and image.tags.intersection(own_tags(target))
    ]
    if not unproven:
        return None
    named = " ".join(ids(unproven))
    return ConfigError(
        f"target {target.name} cannot take over images of retrofit 0.1.0"
        f" ({', '.join(ids(unproven))}): {sign}, so another installation may have made them",
        hint="`retrofit list` shows them all; if they are of this installation:"
        f" `retrofit --target {target.name} adopt {named}`",
    )
