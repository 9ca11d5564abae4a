"""Whether to build, or to promote what is there already, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from retrofit.config import Target
from retrofit.config.numbers import days
from retrofit.model import Image, Source, version_key
from retrofit.plan.backoff import FailedBuild, inputs_of
from retrofit.plan.freshness import Freshness
from retrofit.plan.freshness import notes as freshness_notes
from retrofit.plan.freshness import reasons as freshness_reasons
from retrofit.plan.image_state import (
    DAMAGED_AT,
    REMOVED_STATES,
    ImageState,
    image_state,
    is_usable,
    is_visible,
    is_whole,
    own_tags,
)
from retrofit.plan.inventory import (
    Inventory,
    charm_image_in_use,
    octavia_order,
    promoted_image,
)
from retrofit.plan.proof import shortfalls
from retrofit.source.precedence import step_back


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether to build, or to promote what is there; `reasons` are for it, `notes` against it.

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
    clock: datetime | None = None,
    freshness: Freshness | None = None,
) -> Decision:
    """Compare the promoted image with what would be built now.

    By itself a run goes neither to an older version nor to a less preferred series or stream, and
    promotes no image that a person rejected. `clock` is this machine's time, by which failures are
    recorded (None: that of the inventory).
    """
    promoted = promoted_image(inventory, target)
    charm = charm_image_in_use(inventory, target) if promoted is None else None
    current = promoted or charm
    notes = [*_notes(promoted, target), *freshness_notes(freshness, target)]
    behind = None if current is None else step_back(source, current, target.source)
    if current is not None and behind is not None:
        notes.append(
            f"the best source now is {source.product} {source.version}, behind that of the promoted"
            f" image {current.id} ({behind}): check that the synchroniser runs"
        )
    reasons = _reasons(inventory, target, source, recipe, promoted)
    newer = freshness_reasons(freshness, target, promoted, inventory.now)
    # The promoted image has this source and recipe: only a later build has newer packages.
    only_newer = bool(newer) and not reasons
    reasons = (*reasons, *newer)

    def nothing(*why: str) -> Decision:
        return Decision(build=False, promote=None, reasons=(), notes=(*notes, *why))

    if force:
        return Decision(build=True, promote=None, reasons=("forced", *reasons), notes=tuple(notes))
    if not reasons:
        return nothing()
    if charm is not None and (behind is not None or _covers(charm, source)):
        return nothing(
            f"image {charm.id} of the octavia-diskimage-retrofit charm holds source version"
            f" {charm.property('source_version_name')}: nothing built; --force builds and"
            " verifies one of ours"
        )
    if behind is not None:
        if promoted is None or is_whole(promoted):
            return nothing(
                f"nothing is built from it by itself, in spite of: {'; '.join(reasons)};"
                " --force builds"
            )
        notes.append(
            f"it is used all the same: no amphora can start from {current.id if current else ''}"
        )
    made = [
        image
        for image in inventory.ours(target)
        if is_usable(image)
        and image is not promoted
        and not _outdated(inventory, target, source, recipe, image)
        and not (only_newer and promoted and octavia_order(image) < octavia_order(promoted))
    ]
    unused = [image for image in made if image_state(image, target) not in REMOVED_STATES]
    works = promoted is not None and is_whole(promoted)
    if unused and works and _is_of_another_machine(inventory, promoted, than=unused[0]):
        return nothing(
            f"image {unused[0].id} has this source and recipe; the promoted image is newer, and"
            " another machine without a common lock made it: it stays promoted; set the same"
            " lock.url on all machines of this target"
        )
    if unused:
        why = f"image {unused[0].id} was already built and verified from this source and recipe"
        return Decision(build=False, promote=unused[0], reasons=(*reasons, why), notes=tuple(notes))
    if made:
        did = "hid" if image_state(made[0], target) is ImageState.HIDDEN else "rejected"
        rejected = f"image {made[0].id} has this source and recipe, and somebody {did} it: it"
        promotes = f"`retrofit promote {made[0].id}` promotes it again"
        if promoted is not None and is_whole(promoted):
            return nothing(
                f"{rejected} stays demoted; {promotes}, --force builds a new one",
                *shortfalls(promoted, target),
            )
        # Octavia has nothing to start from: a new image comes, but never the rejected one.
        notes.append(f"{rejected} stays demoted although no other image works; {promotes}")
    if failed is not None and failed.holds_back(
        inputs_of(source, recipe, freshness), target.build, clock or inventory.now
    ):
        return Decision(
            build=False, promote=None, reasons=reasons, notes=tuple(notes), held_back=failed
        )
    return Decision(build=True, promote=None, reasons=reasons, notes=tuple(notes))


def _notes(promoted: Image | None, target: Target) -> list[str]:
    """Return what a person has to decide about the promoted image."""
    if promoted is None or image_state(promoted, target) is not ImageState.DEMOTION_PENDING:
        return []
    return [
        f"image {promoted.id} is rejected, and still tagged since no other image is promoted:"
        f" `retrofit promote {promoted.id}` takes the rejection back, `retrofit promote ID`"
        " of another image completes it"
    ]


def _is_of_another_machine(inventory: Inventory, promoted: Image | None, *, than: Image) -> bool:
    """Return True if a machine that our lock does not exclude promoted a newer image."""
    return (
        promoted is not None
        and inventory.machine.is_of_another(promoted)
        and octavia_order(promoted) > octavia_order(than)
    )


def _reasons(
    inventory: Inventory, target: Target, source: Source, recipe: str, promoted: Image | None
) -> tuple[str, ...]:
    """Return why the promoted image is not what it should be; empty when it is."""
    if promoted is None:
        return (_why_nothing_is_promoted(inventory, target),)
    reasons = list(_outdated(inventory, target, source, recipe, promoted))
    if promoted.property(DAMAGED_AT):
        reasons.append(f"the bytes of image {promoted.id} in Glance are gone or damaged")
    elif not is_whole(promoted):
        reasons.append(
            f"image {promoted.id} is no longer what was published: {promoted.size} bytes,"
            f" {promoted.hash_algo}:{promoted.hash_value},"
            f" published was {promoted.property('retrofit_image_hash')}"
        )
    return tuple(reasons)


def _why_nothing_is_promoted(inventory: Inventory, target: Target) -> str:
    """Name the image that would be promoted, were it not for its state."""
    for image in inventory.ours(target):
        if image.tags.intersection(own_tags(target)) and not is_visible(image):
            state = "hidden" if image.status == "active" else image.status
            return f"image {image.id} carries the tag but is {state}: Octavia cannot use it"
    return "no amphora image of this target is promoted"


def _outdated(
    inventory: Inventory, target: Target, source: Source, recipe: str, image: Image
) -> tuple[str, ...]:
    """Return why `image` is not what a build would give now; empty when it is."""
    reasons = []
    product, version = image.property("source_product_name"), image.property("source_version_name")
    if product != source.product:
        reasons.append(f"source product changed from {product} to {source.product}")
    elif version_key(source.version) < version_key(version or ""):
        pass  # an older source is never a reason to build
    elif version != source.version:
        reasons.append(f"new source version {source.version} (was {version})")
    elif not _of_same_bytes(image, source):
        reasons.append(f"the bytes of source version {version} changed")
    if image.property("retrofit_recipe") != recipe:
        was = image.property("retrofit_recipe") or "unknown"
        reasons.append(f"recipe changed from {was[:19]} to {recipe[:19]}")
    most = target.build.max_age
    if most is not None and inventory.now - image.created_at >= days(most):
        reasons.append(
            f"image {image.id} of {image.created_at:%Y-%m-%d} is older than {most} days"
            " (build.max_age)"
        )
    return (*reasons, *shortfalls(image, target))


def _of_same_bytes(image: Image, source: Source) -> bool:
    """Compare what is recorded with what is known of a source, by every algorithm that both have.

    Where they have none in common the bytes count as others, or a change would go unnoticed; where
    nothing is known of the source, they count as the same, or every run would build.
    """
    algorithm, _, value = (image.property("retrofit_source_hash") or "").partition(":")
    recorded = {"sha256": image.property("retrofit_source_sha256"), algorithm: value}
    known = source.hashes
    common = {name for name in known if recorded.get(name)}
    return not known or (bool(common) and all(recorded[name] == known[name] for name in common))


def _covers(charm: Image, source: Source) -> bool:
    """Return True if the charm built from this source version, or from a newer one."""
    return charm.property("source_product_name") == source.product and version_key(
        charm.property("source_version_name") or ""
    ) >= version_key(source.version)
