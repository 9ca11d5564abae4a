"""Which image an operator may promote, and what else has to change so that Octavia selects it."""

from __future__ import annotations

from dataclasses import dataclass

from retrofit.config import Target
from retrofit.errors import PublishError
from retrofit.model import Image, version_key
from retrofit.plan.image_state import (
    PROMOTED_AT,
    ImageState,
    image_state,
    is_eligible,
    is_rejected,
    is_usable,
    own_tags,
)
from retrofit.plan.inventory import Inventory, newest_first, octavia_order, promoted_image


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """One image takes the place of another; `reject` are those that are marked as rejected.

    `known_ids` are those of the finished images that it was decided upon.
    """

    image: Image
    previous: Image | None
    reject: tuple[Image, ...]
    known_ids: frozenset[str]

    @property
    def changes_nothing(self) -> bool:
        """Return True if Octavia selects the image already."""
        return self.previous is not None and self.previous.id == self.image.id


def promotion(
    inventory: Inventory, target: Target, image_id: str, *, recipe: str | None
) -> Promotion:
    """Plan to promote one image. Raises PublishError where that cannot be, or would not win.

    Rejected are newer images, and those which the next run would find more current: of
    `recipe`, which is what is configured now (None where that is unknown).
    """
    image = next((image for image in inventory.ours(target) if image.id == image_id), None)
    if image is None:
        raise not_of(inventory, target, image_id)
    if not is_usable(image):
        raise PublishError(
            f"cannot promote {image.id}: image is {image.status}, {image.size} bytes, and not what"
            " was built and verified",
            hint="choose another one of `retrofit list`, or build by"
            f" `retrofit --target {target.name} run-once --force`",
        )
    _require_it_would_win(inventory, target, image)
    return Promotion(
        image=image,
        previous=promoted_image(inventory, target),
        reject=tuple(
            other
            for other in inventory.ours(target)
            if other is not image
            and not other.is_unfinished
            and (
                octavia_order(other) > octavia_order(image)
                or _is_more_current(other, image, recipe)
            )
        ),
        known_ids=inventory.finished,
    )


def rollback(
    inventory: Inventory, target: Target, image_id: str | None, *, recipe: str | None
) -> Promotion:
    """Plan to go back, to the last image before the promoted one or to a named older one.

    Raises PublishError when there is nothing to go back to.
    """
    current = promoted_image(inventory, target)
    if current is not None and (
        image_id == current.id or (image_id is None and _left_halfway(inventory, target, current))
    ):
        # The same command once more, after it was done or died: it goes no further back.
        return promotion(inventory, target, current.id, recipe=recipe)
    # With nothing promoted the newest usable image that served before is what to go back to.
    older = [
        image
        for image in inventory.ours(target)
        if (current is None or octavia_order(image) < octavia_order(current))
    ]
    if image_id is None:
        before = [
            image
            for image in older
            if is_usable(image) and image.property(PROMOTED_AT) and not is_rejected(image)
        ]
        if not before:
            raise PublishError(
                f"target {target.name} has no older image to go back to{_rejected_ones(older)}",
                hint=_way_out(older, target),
            )
        return promotion(inventory, target, before[0].id, recipe=recipe)
    if current is not None and image_id not in {image.id for image in older}:
        if all(image.id != image_id for image in inventory.ours(target)):
            raise not_of(inventory, target, image_id)
        raise PublishError(
            f"image {image_id} is not an older image of target {target.name} than the promoted"
            f" {current.id}",
            hint=f"`retrofit promote {image_id}` promotes it all the same",
        )
    return promotion(inventory, target, image_id, recipe=recipe)


def _rejected_ones(older: list[Image]) -> str:
    rejected = [image.id for image in older if is_usable(image) and is_rejected(image)]
    return f"; rejected: {', '.join(rejected)}" if rejected else ""


def _way_out(older: list[Image], target: Target) -> str:
    """Return the command that promotes an image all the same, where one is there."""
    usable = [image for image in older if is_usable(image)]
    if usable:
        return f"`retrofit promote {usable[0].id}` promotes that one all the same"
    return (
        f"publish.keep is how many stay; `retrofit --target {target.name} run-once --force` builds"
        " a new one"
    )


def _is_more_current(other: Image, image: Image, recipe: str | None) -> bool:
    """Return True if a run with this recipe may want `other` where `image` is promoted."""
    if recipe is None or other.property("retrofit_recipe") != recipe:
        return False
    if image.property("retrofit_recipe") != recipe:
        return True
    product, version = "source_product_name", "source_version_name"
    return other.property(product) != image.property(product) or version_key(
        other.property(version) or ""
    ) > version_key(image.property(version) or "")


def _left_halfway(inventory: Inventory, target: Target, current: Image) -> bool:
    """Return True if a rollback to `current` died before the newer image lost its tag."""
    return any(
        image_state(image, target) is ImageState.DEMOTION_PENDING
        and octavia_order(image) > octavia_order(current)
        for image in inventory.ours(target)
    )


def _require_it_would_win(inventory: Inventory, target: Target, image: Image) -> None:
    """Refuse before anything is changed where a newer image, not ours to demote, would win."""
    tags, identity = own_tags(target), inventory.identity(target)
    ours = {other.id for other in inventory.ours(target)}
    if target.publish.replace_charm_images:
        ours.update(other.id for other in inventory.of_the_charm(target))
    in_the_way = newest_first(
        other
        for other in inventory.images
        if other.owner == inventory.own_project
        and (other.id not in ours or identity.foreign_tags(other))
        and any(is_eligible(other, tag) for tag in tags)
        and octavia_order(other) > octavia_order(image)
    )
    if in_the_way:
        other = in_the_way[0]
        tag = next(tag for tag in tags if tag in other.tags)
        foreign = identity.foreign_tags(other)
        whose = f"also the tag {foreign[0]} of others" if other.id in ours else "is not ours"
        raise PublishError(
            f"cannot promote {image.id}: Octavia would select {other.id}"
            f" ({other.name}), which is newer, carries the tag {tag} and {whose}",
            hint=f"remove its tag first: openstack image unset --tag {tag} {other.id}",
        )


def not_of(inventory: Inventory, target: Target, image_id: str) -> PublishError:
    """Return the error of an image that is not provably of a target, with the reason."""
    image = next((image for image in inventory.images if image.id == image_id), None)
    why = "" if image is None else f": it {inventory.whose(image, target).reason}"
    return PublishError(
        f"image {image_id} is not an amphora image of target {target.name}{why}",
        hint="`retrofit list` shows those that are; images of others are never touched",
    )
