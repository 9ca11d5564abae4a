"""What Glance shows of one target, and what its properties say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from retrofit.config import Target
from retrofit.model import DEBIAN_ARCHITECTURES, Image, Product
from retrofit.times import read_time

UNFINISHED = frozenset({"queued", "saving", "uploading", "importing"})
FOREIGN_UPLOAD_TIMEOUT = timedelta(hours=6)
"""How long a record that another machine left unfinished may still be its running upload."""
CHARM_TAG = "octavia-diskimage-retrofit"
"""What the charm of that name tags all its images with, besides the tag that Octavia looks for."""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What Glance shows of one target, as one project, at one moment."""

    images: tuple[Image, ...]
    own_project: str
    now: datetime

    def ours(self, target: str) -> list[Image]:
        """Return the amphora images of a target, newest first as Octavia orders them.

        Any tenant can set our properties: what another project owns is not ours. Nor is what Nova
        took of an amphora, though it has them all.
        """
        return newest_first(
            image
            for image in self.images
            if image.property("retrofit_target") == target
            and image.owner == self.own_project
            and not image.is_snapshot
        )

    @property
    def finished(self) -> frozenset[str]:
        """Return the ids of the images that somebody's upload or import is not still making."""
        return frozenset(image.id for image in self.images if image.status not in UNFINISHED)

    def of_the_charm(self, target: Target) -> list[Image]:
        """Return what the octavia-diskimage-retrofit charm made for a target's architecture."""
        architecture = DEBIAN_ARCHITECTURES[target.source.architecture]
        return newest_first(
            image
            for image in self.images
            if CHARM_TAG in image.tags
            and image.owner == self.own_project
            and not image.is_snapshot
            and image.property("retrofit_target") is None
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
    """Return the image of this target that stands where Octavia finds it.

    Of several that is the newest, which Octavia takes; but one that a person set aside comes last:
    where a rollback died half way, it is the older image that shall stand.
    """
    standing = [
        image for image in inventory.ours(target.name) if is_eligible(image, target.publish.tag)
    ]
    wanted = (image for image in standing if not image.property("retrofit_set_aside_at"))
    return next(wanted, standing[0] if standing else None)


def charm_image_in_use(inventory: Inventory, target: Target) -> Image | None:
    """Return the charm's image that Octavia would take, were there none of ours."""
    made = inventory.of_the_charm(target)
    return next((image for image in made if is_eligible(image, target.publish.tag)), None)


def is_eligible(image: Image, tag: str) -> bool:
    """Say whether Octavia's query returns the image: tagged, active, not hidden."""
    return tag in image.tags and image.status == "active" and not image.hidden


def is_whole(image: Image) -> bool:
    """Say whether an image holds the very bytes that its run built and verified."""
    recorded = image.property("retrofit_image_hash")
    return bool(
        image.size and image.hash_value and recorded == f"{image.hash_algo}:{image.hash_value}"
    )


def is_usable(image: Image) -> bool:
    """Say whether an image could be promoted: active, and whole."""
    return image.status == "active" and is_whole(image)


def is_set_aside(image: Image, tag: str) -> bool:
    """Say whether a person decided against an image; only a person then promotes it again.

    Either by a rollback, or by taking away its tag with other tools: what we demote is marked.
    """
    if image.property("retrofit_set_aside_at"):
        return True
    if tag in image.tags:
        return False
    return bool(image.property("retrofit_promoted_at")) and not image.property(
        "retrofit_demoted_at"
    )


def moment(image: Image, key: str) -> datetime | None:
    """Read a time from a property; None where there is none, or one that nobody can read."""
    return read_time(image.property(key))


def leftovers(inventory: Inventory, target: Target, *, host: str, lock_shared: bool) -> list[Image]:
    """Return the records that dead runs left unfinished; call it with the target's lock held.

    The lock proves that a run of this machine is dead, and with a shared lock that every run is;
    else another machine's record gets the time that an upload may take.
    """
    return [
        image
        for image in inventory.ours(target.name)
        if image.status in UNFINISHED
        and (
            lock_shared
            or image.property("retrofit_host") == host
            or inventory.now - image.created_at > FOREIGN_UPLOAD_TIMEOUT
        )
    ]


def ids(images: Iterable[Image]) -> tuple[str, ...]:
    """Return the ids of images."""
    return tuple(image.id for image in images)
