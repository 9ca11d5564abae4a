"""List and show amphora images in Glance; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.errors import ConfigError, PublishError
from retrofit.model import Image
from retrofit.observe.freshness import recorded_freshness
from retrofit.observe.target import inventory_of, sources_of_0_1, take_inventory
from retrofit.status.models import ImageDocument
from retrofit.status.target import image_document


@dataclass(frozen=True, kw_only=True)
class ShownImage:
    """One image, and all its properties."""

    document: ImageDocument
    properties: Mapping[str, str]


def list_images(targets: Iterable[Target], settings: Settings) -> list[ImageDocument]:
    """Return the images of each target, newest first, and then those that are not retrofit's.

    Those are images of the octavia-diskimage-retrofit charm, images of this project that look
    like ours and are not, and source images that retrofit 0.1.0 published. Which fixes a promoted
    one lacks is what this machine saw last: no archive is asked. Raises CloudError.
    """
    listed = []
    for target in targets:
        for image, document in _images([target]):
            known = recorded_freshness(image, target, settings) if document.promoted else None
            missing = None if known is None or known.offer is None else len(known.fixes)
            listed.append(document.model_copy(update={"missing_fixes": missing}))
    return listed


def show_image(image_id: str, targets: Iterable[Target]) -> ShownImage:
    """Return one of the images that `list_images` returns, by its id or the beginning of one.

    Raises CloudError, and ConfigError for no such image, or several.
    """
    known = {image.id: (image, document) for image, document in _images(targets)}
    found = the_one_that_begins(image_id, known)
    if found is None:
        raise ConfigError(
            f"image {image_id} is not an amphora image of these targets",
            hint="`retrofit list` shows those that are",
        )
    image, document = known[found]
    return ShownImage(document=document, properties=image.properties)


def image_ids(targets: Iterable[Target]) -> list[str]:
    """Return the ids of the targets' own images, newest first. Raises CloudError."""
    return [image.id for target in targets for image in inventory_of(target).ours(target)]


def the_one_that_begins(beginning: str, known: Iterable[str]) -> str | None:
    """Return the id that begins so, None for none. Raises ConfigError for several."""
    ids = list(known)
    if beginning in ids:
        return beginning
    found = [each for each in ids if beginning and each.startswith(beginning)]
    if len(found) > 1:
        raise ConfigError(
            f"several images begin with {beginning}: {', '.join(found)}",
            hint="give more of its id: `retrofit list` shows them",
        )
    return found[0] if found else None


@dataclass(frozen=True, kw_only=True)
class NamedImage:
    """An image that a person named, and the target that it belongs to."""

    id: str
    target: Target


def named_image(image_id: str, targets: Iterable[Target]) -> NamedImage:
    """Return the amphora image with this id, or the beginning of one, and its target.

    Raises CloudError, PublishError, and ConfigError where several begin so.
    """
    why = ""
    ours: dict[str, Target] = {}
    for target in targets:
        inventory = inventory_of(target)
        for image in inventory.images:
            owned = inventory.whose(image, target)
            if owned.ours:
                ours.setdefault(image.id, target)
            elif image.id == image_id:
                why = f": it {owned.reason}"
    found = the_one_that_begins(image_id, ours)
    if found is None:
        raise PublishError(
            f"image {image_id} is not an amphora image of these targets{why}",
            hint="`retrofit list` shows those that are; images of others are never touched",
        )
    return NamedImage(id=found, target=ours[found])


def _images(targets: Iterable[Target]) -> Iterator[tuple[Image, ImageDocument]]:
    for target in targets:
        glance = Glance.connect(target.cloud)
        inventory = take_inventory(target, glance)
        for image in (
            *inventory.ours(target),
            *inventory.of_the_charm(target),
            # Of this project: any tenant may publish look-alikes by the thousand.
            *(
                image
                for image, _ in inventory.look_alikes(target)
                if image.owner == inventory.own_project
            ),
            *sources_of_0_1(target, glance),
        ):
            yield image, image_document(image, inventory, target)
