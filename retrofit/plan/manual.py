"""What an operator may promote by hand, and what else has to happen so that Octavia takes it."""

from __future__ import annotations

from dataclasses import dataclass

from retrofit.config import Target
from retrofit.errors import PublishError
from retrofit.model import Image, version_key
from retrofit.plan.inventory import (
    UNFINISHED,
    Inventory,
    is_eligible,
    is_usable,
    newest_first,
    octavia_order,
    promoted_image,
)


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """One image takes the place of another; `set_aside` are those that are decided against.

    `seen` are the ids of the finished images that it was decided upon.
    """

    image: Image
    previous: Image | None
    set_aside: tuple[Image, ...]
    seen: frozenset[str]

    @property
    def changes_nothing(self) -> bool:
        """Say whether the image already is what Octavia takes."""
        return self.previous is not None and self.previous.id == self.image.id


def promotion(
    inventory: Inventory, target: Target, image_id: str, *, recipe: str | None
) -> Promotion:
    """Plan to promote one image. Raises PublishError where that cannot be, or would not win.

    Decided against are newer images, and those which the next run would find more current: of
    `recipe`, which is what is configured now (None where nobody can tell).
    """
    image = next((image for image in inventory.ours(target.name) if image.id == image_id), None)
    if image is None:
        raise PublishError(
            f"image {image_id} is not an amphora image of target {target.name}",
            hint="`retrofit list` shows those that are; images of others are never touched",
        )
    if not is_usable(image):
        raise PublishError(
            f"cannot promote {image.id}: image is {image.status}, {image.size} bytes, and not what"
            " was built and verified",
            hint="choose another one of `retrofit list`, or build by `retrofit run-once --force`",
        )
    _require_it_would_win(inventory, target, image)
    return Promotion(
        image=image,
        previous=promoted_image(inventory, target),
        set_aside=tuple(
            other
            for other in inventory.ours(target.name)
            if other is not image
            and other.status not in UNFINISHED
            and (
                octavia_order(other) > octavia_order(image)
                or _is_more_current(other, image, recipe)
            )
        ),
        seen=inventory.finished,
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
        for image in inventory.ours(target.name)
        if (current is None or octavia_order(image) < octavia_order(current))
    ]
    if image_id is None:
        before = [
            image
            for image in older
            if is_usable(image)
            and image.property("retrofit_promoted_at")
            and not image.property("retrofit_set_aside_at")
        ]
        if not before:
            raise PublishError(
                f"target {target.name} has no older image to go back to",
                hint="publish.keep says how many stay; `retrofit list` shows what is there",
            )
        return promotion(inventory, target, before[0].id, recipe=recipe)
    if current is not None and image_id not in {image.id for image in older}:
        raise PublishError(
            f"image {image_id} is not an older image of target {target.name} than the promoted"
            f" {current.id}",
            hint="`retrofit promote` takes any image of the target, newer ones too",
        )
    return promotion(inventory, target, image_id, recipe=recipe)


def _is_more_current(other: Image, image: Image, recipe: str | None) -> bool:
    """Say whether a run with this recipe may want `other` where `image` is promoted."""
    if recipe is None or other.property("retrofit_recipe") != recipe:
        return False
    if image.property("retrofit_recipe") != recipe:
        return True
    product, version = "source_product_name", "source_version_name"
    return other.property(product) != image.property(product) or version_key(
        other.property(version) or ""
    ) > version_key(image.property(version) or "")


def _left_halfway(inventory: Inventory, target: Target, current: Image) -> bool:
    """Say whether a rollback to `current` died before the newer image lost its tag."""
    return any(
        image.property("retrofit_set_aside_at")
        and is_eligible(image, target.publish.tag)
        and octavia_order(image) > octavia_order(current)
        for image in inventory.ours(target.name)
    )


def _require_it_would_win(inventory: Inventory, target: Target, image: Image) -> None:
    """Refuse before anything is changed where a newer image, not ours to demote, would win."""
    tag = target.publish.tag
    ours = {other.id for other in inventory.ours(target.name)}
    if target.publish.adopt:
        ours.update(other.id for other in inventory.of_the_charm(target))
    in_the_way = newest_first(
        other
        for other in inventory.images
        if other.owner == inventory.own_project
        and other.id not in ours
        and is_eligible(other, tag)
        and octavia_order(other) > octavia_order(image)
    )
    if in_the_way:
        raise PublishError(
            f"cannot promote {image.id}: Octavia would take {in_the_way[0].id}"
            f" ({in_the_way[0].name}), which is newer, carries the tag {tag} and is not ours",
            hint=f"remove its tag first: openstack image unset --tag {tag} {in_the_way[0].id}",
        )
