"""What Glance shows of one target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from retrofit.config import Target
from retrofit.model import DEBIAN_ARCHITECTURES, Image, Product
from retrofit.plan.identity import CHARM_TAG, TARGET, Basis, Identity, Machine, Ownership, whose
from retrofit.plan.image_state import SERVING_STATES, ImageState, image_state, is_eligible


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What Glance shows of one target, as one project, at one moment.

    `now` is that moment by Glance's clock, as `created_at` is: never by this machine's.
    `clock_warning` is what is wrong with one of the two. `machine` is what the lock of whoever
    looks excludes; the default is a lock that all share.
    """

    images: tuple[Image, ...]
    own_project: str
    now: datetime
    clock_warning: str | None = None
    machine: Machine = field(default_factory=Machine)

    def identity(self, target: Target) -> Identity:
        """Return the identity of a target in this project."""
        return Identity.of(target, self.own_project)

    def whose(self, image: Image, target: Target) -> Ownership:
        """Return whose an image is, as far as a target is concerned."""
        return whose(image, self.identity(target), self.images)

    def ours(self, target: Target) -> list[Image]:
        """Return the images that are provably of a target, newest first as Octavia orders them."""
        return newest_first(image for image in self.images if self.whose(image, target).ours)

    def look_alikes(self, target: Target) -> list[tuple[Image, Ownership]]:
        """Return the images that look like those of a target and are not, with the reasons."""
        judged = [(image, self.whose(image, target)) for image in newest_first(self.images)]
        return [
            (image, owned)
            for image, owned in judged
            if not owned.ours and owned.basis is not Basis.UNRELATED
        ]

    @property
    def finished(self) -> frozenset[str]:
        """Return the ids of the images whose upload or import is over."""
        return frozenset(image.id for image in self.images if not image.is_unfinished)

    def of_the_charm(self, target: Target) -> list[Image]:
        """Return what the octavia-diskimage-retrofit charm made for a target's architecture."""
        architecture = DEBIAN_ARCHITECTURES[target.source.architecture]
        return newest_first(
            image
            for image in self.images
            if CHARM_TAG in image.tags
            and image.owner == self.own_project
            and not image.is_snapshot
            and image.property(TARGET) is None
            and image.property("source_version_name")
            and (product := Product.parse(image.property("source_product_name") or ""))
            and product.architecture == architecture
        )


def octavia_order(image: Image) -> tuple[datetime, str]:
    """Order images as Octavia's listing does: by `created_at`, then id (the last one wins)."""
    return image.created_at, image.id


def newest_first(images: Iterable[Image]) -> list[Image]:
    """Sort images so that the one which Octavia would prefer comes first."""
    return sorted(images, key=octavia_order, reverse=True)


def promoted_image(inventory: Inventory, target: Target) -> Image | None:
    """Return the image of this target that Octavia selects, as far as it is up to this target.

    Of several that is the newest; but a rejected one comes last: where a rollback died half way,
    the older image is to stay.
    """
    states = [(image, image_state(image, target)) for image in inventory.ours(target)]
    serving = [(image, state) for image, state in states if state in SERVING_STATES]
    serving.sort(key=lambda each: each[1] is ImageState.DEMOTION_PENDING)
    return serving[0][0] if serving else None


def charm_image_in_use(inventory: Inventory, target: Target) -> Image | None:
    """Return the charm's image that Octavia would select, were there none of ours."""
    made = inventory.of_the_charm(target)
    return next((image for image in made if is_eligible(image, target.publish.tag)), None)


def leftovers(inventory: Inventory, target: Target) -> list[Image]:
    """Return the records that dead runs left unfinished; call it with the target's lock held.

    The lock proves that the runs are dead which it excludes. What another machine without a common
    lock left may be its running upload, however old it is. One that somebody tagged stays as well.
    """
    identity = inventory.identity(target)
    return [
        image
        for image in unfinished(inventory, target)
        if inventory.machine.is_leftover(image) and not identity.foreign_tags(image)
    ]


def unfinished(inventory: Inventory, target: Target) -> list[Image]:
    """Return the records of a target whose upload goes on, or has died."""
    return [
        image
        for image in inventory.ours(target)
        if image_state(image, target) is ImageState.UNFINISHED
    ]


def ids(images: Iterable[Image]) -> tuple[str, ...]:
    """Return the ids of images."""
    return tuple(image.id for image in images)
