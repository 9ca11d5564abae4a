"""What lies beside our images: look-alikes, other installations, other machines' work; pure."""

from __future__ import annotations

from collections.abc import Iterable

from retrofit.config import Target
from retrofit.model import Image
from retrofit.plan.carry_over import ambiguity
from retrofit.plan.identity import (
    IMAGE_ID,
    INSTALLATION,
    RUN_ID,
    TAG,
    TARGET,
    Basis,
    Identity,
    made_by,
)
from retrofit.plan.inventory import Inventory, leftovers, promoted_image, unfinished

SHARE_THE_LOCK = "set the same lock.url on all machines that serve this target"


def identity_warnings(inventory: Inventory, target: Target) -> list[str]:
    """Name what is not provably ours and what no lock of ours excludes, with the way out."""
    return [
        *_renamed(inventory, target),
        *_other_installations(inventory, target),
        *_unproven(inventory, target),
        *_other_machines(inventory, target),
    ]


def _renamed(inventory: Inventory, target: Target) -> list[str]:
    """Name the images of this installation whose target no configuration has.

    An installation serves one tag, and a tag is of one target: there can be no other.
    """
    by_name: dict[str, list[str]] = {}
    for image, owned in inventory.look_alikes(target):
        if owned.basis is Basis.OTHER_TARGET:
            by_name.setdefault(image.property(TARGET) or "", []).append(image.id)
    return [
        f"{_images(found)} of target {name} belong to this installation, and no target of that name"
        f' has the tag {target.publish.tag}: formerly = ["{name}"] in target {target.name} carries'
        " them over, else nothing manages them"
        for name, found in sorted(by_name.items())
    ]


def _other_installations(inventory: Inventory, target: Target) -> list[str]:
    by_tag: dict[str, list[str]] = {}
    for image, owned in inventory.look_alikes(target):
        if owned.basis is Basis.OTHER_INSTALLATION:
            by_tag.setdefault(image.property(TAG) or "unknown", []).append(image.id)
    return [
        f"another installation with tag {tag} has images of target {target.name} in this project"
        f" ({', '.join(found)}): they are left alone; if {tag} is a former tag of this"
        f' installation, publish.former_tags = ["{tag}"] carries them over'
        for tag, found in sorted(by_tag.items())
    ]


def _unproven(inventory: Inventory, target: Target) -> list[str]:
    if (error := ambiguity(inventory, target)) is not None:
        return [f"{error.message}: runs change nothing; {error.hint}"]
    return [
        f"image {image.id} of target {target.name} {owned.reason}: it is left alone; if it is of"
        f" this installation: `retrofit --target {target.name} adopt {image.id}`"
        for image, owned in inventory.look_alikes(target)
        if owned.basis is Basis.UNPROVEN
    ]


def _other_machines(inventory: Inventory, target: Target) -> list[str]:
    dead = {image.id for image in leftovers(inventory, target)}
    found = [
        f"image {image.id} is unfinished since {image.created_at:%Y-%m-%d %H:%M} UTC, by"
        f" {made_by(image)}, which shares no lock with this machine: it is left alone;"
        f" {SHARE_THE_LOCK}, or if that run is dead: openstack image delete {image.id}"
        for image in unfinished(inventory, target)
        if image.id not in dead
    ]
    promoted = promoted_image(inventory, target)
    if promoted is not None and inventory.machine.is_of_another(promoted):
        found.append(
            f"the promoted image {promoted.id} is by {made_by(promoted)} with another state"
            f" directory, and no lock excludes its runs: {SHARE_THE_LOCK}; if paths.state of this"
            " machine was emptied, the next image ends this warning"
        )
    return found


def other_installations_in_project(
    images: Iterable[Image], project_id: str, configured: Iterable[Target]
) -> list[str]:
    """Name the installations that a project has besides those of the configured targets.

    `images` are all of the project. Those of a configured target's name are named by its own
    warnings.
    """
    identities = [Identity.of(target, project_id) for target in configured]
    known = {each for identity in identities for each in identity.installations}
    names = {name for identity in identities for name in identity.targets}
    others: dict[tuple[str, str], int] = {}
    for image in images:
        name = image.property(TARGET)
        if (
            name is None
            or name in names
            or image.owner != project_id
            or image.is_snapshot
            or not image.property(RUN_ID)
            or image.property(IMAGE_ID) not in {None, image.id}
            or image.property(INSTALLATION) in known
        ):
            continue
        key = (name, image.property(TAG) or "unknown")
        others[key] = others.get(key, 0) + 1
    return [
        f"this project has images of target {name} with tag {tag} ({count}), which no target of"
        " this configuration is: they are left alone; if they are of a target that was renamed or"
        " got another tag, target.NAME.formerly or publish.former_tags carries them over"
        for (name, tag), count in sorted(others.items())
    ]


def _images(found: list[str]) -> str:
    return f"{'image' if len(found) == 1 else 'images'} {', '.join(found)}"
