"""Whether to build, or to promote what is there already, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from retrofit.config import Target
from retrofit.model import Image, Source, version_key
from retrofit.plan.failed_build import FailedBuild, inputs_of
from retrofit.plan.inventory import (
    Inventory,
    charm_image_in_use,
    is_eligible,
    is_set_aside,
    is_usable,
    is_whole,
    promoted_image,
)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether to build, or to promote what is there; `reasons` say why, `notes` why not.

    `held_back` is the failure that makes a wanted build wait.
    """

    build: bool
    promote: Image | None
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    held_back: FailedBuild | None = None


def decide(
    inventory: Inventory,
    target: Target,
    source: Source,
    *,
    recipe: str,
    force: bool,
    failed: FailedBuild | None = None,
) -> Decision:
    """Compare what is promoted with what would be built now."""
    promoted = promoted_image(inventory, target)
    charm = charm_image_in_use(inventory, target) if promoted is None else None
    standing = promoted or charm
    notes: list[str] = []
    if standing is not None and _is_older(source, standing):
        notes.append(
            f"the newest source {source.version} is older than the promoted image's"
            f" {standing.property('source_version_name')}: is the synchroniser running?"
        )
    reasons = _reasons(inventory, target, source, recipe, promoted)
    if force:
        return Decision(build=True, promote=None, reasons=("forced", *reasons), notes=tuple(notes))
    if not reasons:
        return Decision(build=False, promote=None, reasons=(), notes=tuple(notes))
    if charm is not None and _covers(charm, source):
        notes.append(
            f"image {charm.id} of the octavia-diskimage-retrofit charm holds source version"
            f" {charm.property('source_version_name')}: nothing built; --force builds and"
            " verifies one of ours"
        )
        return Decision(build=False, promote=None, reasons=(), notes=tuple(notes))
    made = [
        image
        for image in inventory.ours(target.name)
        if is_usable(image)
        and image is not promoted
        and not _outdated(inventory, target, source, recipe, image)
    ]
    # Set aside or not: with nothing promoted, no load balancer can be made at all.
    tag = target.publish.tag
    unused = next(
        (image for image in made if promoted is None or not is_set_aside(image, tag)), None
    )
    if unused is not None:
        why = f"image {unused.id} was already built and verified from this source and recipe"
        return Decision(build=False, promote=unused, reasons=(*reasons, why), notes=tuple(notes))
    if made and promoted is not None and is_whole(promoted):
        notes.append(
            f"image {made[0].id} holds this source and recipe and was set aside by somebody:"
            f" left so; `retrofit promote {made[0].id}` takes it back, --force builds again"
        )
        return Decision(build=False, promote=None, reasons=(), notes=tuple(notes))
    if failed is not None and failed.holds_back(
        inputs_of(source, recipe), target.build, inventory.now
    ):
        return Decision(
            build=False, promote=None, reasons=reasons, notes=tuple(notes), held_back=failed
        )
    return Decision(build=True, promote=None, reasons=reasons, notes=tuple(notes))


def _reasons(
    inventory: Inventory, target: Target, source: Source, recipe: str, promoted: Image | None
) -> tuple[str, ...]:
    """Say why what is promoted is not what it should be; empty when it is."""
    if promoted is None:
        return (_why_nothing_is_promoted(inventory, target),)
    reasons = list(_outdated(inventory, target, source, recipe, promoted))
    if not is_whole(promoted):
        reasons.append(
            f"image {promoted.id} is no longer what was published: {promoted.size} bytes,"
            f" {promoted.hash_algo}:{promoted.hash_value},"
            f" published was {promoted.property('retrofit_image_hash')}"
        )
    return tuple(reasons)


def _why_nothing_is_promoted(inventory: Inventory, target: Target) -> str:
    """Name the image that would be promoted, were it not for its state."""
    for image in inventory.ours(target.name):
        if target.publish.tag in image.tags and not is_eligible(image, target.publish.tag):
            state = "hidden" if image.status == "active" else image.status
            return f"image {image.id} carries the tag but is {state}: Octavia cannot take it"
    return "no amphora image of this target is promoted"


def _outdated(
    inventory: Inventory, target: Target, source: Source, recipe: str, image: Image
) -> tuple[str, ...]:
    """Say why `image` is not what a build would give now; empty when it is."""
    reasons = []
    product, version = image.property("source_product_name"), image.property("source_version_name")
    if product != source.product:
        reasons.append(f"source product changed from {product} to {source.product}")
    elif _is_older(source, image):
        pass  # an older source is never a reason to build
    elif version != source.version:
        reasons.append(f"new source version {source.version} (was {version})")
    elif not _of_same_bytes(image, source):
        reasons.append(f"the bytes of source version {version} changed")
    if image.property("retrofit_recipe") != recipe:
        was = image.property("retrofit_recipe") or "unknown"
        reasons.append(f"recipe changed from {was[:19]} to {recipe[:19]}")
    days = target.build.max_age
    if days is not None and inventory.now - image.created_at >= timedelta(days=days):
        reasons.append(
            f"image {image.id} of {image.created_at:%Y-%m-%d} is older than {days} days"
            " (build.max_age)"
        )
    return tuple(reasons)


def _of_same_bytes(image: Image, source: Source) -> bool:
    """Compare what is recorded with what is known of a source, by every algorithm that both have.

    Where they have none in common the bytes count as others, or nobody would ever notice; where
    nothing is known of the source, they count as the same, or every run would build.
    """
    algorithm, _, value = (image.property("retrofit_source_hash") or "").partition(":")
    recorded = {"sha256": image.property("retrofit_source_sha256"), algorithm: value}
    known = source.hashes
    common = {name for name in known if recorded.get(name)}
    return not known or (bool(common) and all(recorded[name] == known[name] for name in common))


def _is_older(source: Source, image: Image) -> bool:
    return source.product == image.property("source_product_name") and version_key(
        source.version
    ) < version_key(image.property("source_version_name") or "")


def _covers(charm: Image, source: Source) -> bool:
    """Say whether the charm built from this source version, or from a newer one."""
    return charm.property("source_product_name") == source.product and version_key(
        charm.property("source_version_name") or ""
    ) >= version_key(source.version)
