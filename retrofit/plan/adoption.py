"""Which images an operator may adopt: give our identity to what is not provably ours; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from retrofit.config import Target
from retrofit.errors import ConfigError
from retrofit.model import Image
from retrofit.plan.identity import INSTALLATION, TARGET, Basis
from retrofit.plan.image_state import DEMOTED_AT, PROMOTED_AT, is_whole, own_tags
from retrofit.plan.inventory import Inventory


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """One image to adopt: what it was until now, and the properties that it gets."""

    image: Image
    was: str
    properties: Mapping[str, str]


def adopt_named(
    inventory: Inventory, target: Target, image_ids: Collection[str], *, now: str
) -> tuple[Adoption, ...]:
    """Plan to adopt the images of these ids, which are in the inventory where they exist.

    A copy may be adopted by its id, where it holds the very bytes that were verified: images that a
    replicator brought from another cloud are copies, all of them. Raises ConfigError for an image
    that cannot be adopted, with the reason.
    """
    images = {image.id: image for image in inventory.images}
    for image_id in image_ids:
        if image_id not in images:
            raise ConfigError(
                f"cannot adopt {image_id}: there is no such image",
                hint="see `openstack image list`",
            )
        _require_adoptable(images[image_id], inventory, target)
    return _adoptions([images[image_id] for image_id in image_ids], inventory, target, now=now)


def adopt_unproven(inventory: Inventory, target: Target, *, now: str) -> tuple[Adoption, ...]:
    """Plan to adopt what 0.1.0 left promoted under our tag, and only an operator can attribute.

    Images without the tag have to be named: they may be of the other installation.
    """
    found = [
        image
        for image, owned in inventory.look_alikes(target)
        if owned.basis is Basis.UNPROVEN
        and is_whole(image)
        and image.tags.intersection(own_tags(target))
    ]
    return _adoptions(found, inventory, target, now=now)


def adopt_installation(
    inventory: Inventory, target: Target, installation: str, *, now: str
) -> tuple[Adoption, ...]:
    """Plan to adopt all images of another installation, but copies and unfinished ones."""
    found = [
        image
        for image in inventory.images
        if image.property(INSTALLATION) == installation
        and image.owner == inventory.own_project
        and inventory.whose(image, target).basis not in {Basis.COPY, Basis.SNAPSHOT}
        and is_whole(image)
    ]
    return _adoptions(found, inventory, target, now=now)


def _require_adoptable(image: Image, inventory: Inventory, target: Target) -> None:
    """Raise ConfigError for what was not built and verified, or is not ours to write to."""
    if image.property(TARGET) is None or image.is_snapshot:
        why = "it was not made by retrofit"
        hint = f"`retrofit --target {target.name} run-once --force` builds an image"
    elif image.owner != inventory.own_project:
        why = f"it belongs to project {image.owner}"
        hint = f"an administrator moves it: openstack image set --project PROJECT {image.id}"
    elif not is_whole(image):
        why = "it does not hold the bytes that were built and verified"
        hint = f"`retrofit --target {target.name} run-once --force` builds another one"
    else:
        return
    raise ConfigError(f"cannot adopt {image.id}: {why}", hint=hint)


def _adoptions(
    images: Collection[Image], inventory: Inventory, target: Target, *, now: str
) -> tuple[Adoption, ...]:
    identity, tags = inventory.identity(target), own_tags(target)
    found = []
    for image in images:
        owned = inventory.whose(image, target)
        if owned.basis is Basis.PRESENT:
            continue
        properties = identity.properties_of(image.id)
        left = image.property(PROMOTED_AT) and not image.property(DEMOTED_AT)
        if left and not image.tags.intersection(tags):
            # Else it would count as one whose tag a person removed, and be rejected for ever.
            properties[DEMOTED_AT] = now
        found.append(Adoption(image=image, was=owned.reason, properties=properties))
    return tuple(found)
