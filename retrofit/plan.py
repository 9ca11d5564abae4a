"""Inventory + settings + clock -> what to do and why; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from retrofit.config import Target
from retrofit.model import Image, Source, version_key
from retrofit.source import SourceChoice

UNFINISHED = frozenset({"queued", "saving", "uploading", "importing"})
FOREIGN_UPLOAD_TIMEOUT = timedelta(hours=6)
"""How long a record that another machine left unfinished may still be its running upload."""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What Glance shows of one target, as one project, at one moment."""

    images: tuple[Image, ...]
    own_project: str
    now: datetime

    def ours(self, target: str) -> list[Image]:
        """Return the amphora images of a target, newest first as Octavia orders them.

        Any tenant can set our properties: what another project owns is not ours.
        """
        own = [
            image
            for image in self.images
            if image.property("retrofit_target") == target and image.owner == self.own_project
        ]
        return sorted(own, key=octavia_order, reverse=True)


def octavia_order(image: Image) -> tuple[datetime, str]:
    """Order images as Octavia's listing does: by `created_at`, then id (the last one wins)."""
    return image.created_at, image.id


def promoted_image(inventory: Inventory, target: Target) -> Image | None:
    """Return the image of this target that Octavia would take, were there no foreign ones."""
    return next(
        (image for image in inventory.ours(target.name) if is_eligible(image, target.publish.tag)),
        None,
    )


def is_eligible(image: Image, tag: str) -> bool:
    """Say whether Octavia's query returns the image: tagged, active, not hidden."""
    return tag in image.tags and image.status == "active" and not image.hidden


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether to build, or to promote what is there already; `reasons` say why, `notes` why not."""

    build: bool
    promote: Image | None
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


def decide(
    inventory: Inventory, target: Target, source: Source, *, recipe: str, force: bool
) -> Decision:
    """Compare what is promoted with what would be built now."""
    promoted = promoted_image(inventory, target)
    reasons = _reasons(promoted, source, recipe)
    notes: list[str] = []
    if promoted is not None and _is_older(source, promoted):
        notes.append(
            f"the newest source {source.version} is older than the promoted image's"
            f" {promoted.property('source_version_name')}: is the synchroniser running?"
        )
    if force:
        return Decision(build=True, promote=None, reasons=("forced", *reasons), notes=tuple(notes))
    if not reasons:
        return Decision(build=False, promote=None, reasons=(), notes=tuple(notes))
    made = [
        image
        for image in inventory.ours(target.name)
        if image.status == "active" and not _reasons(image, source, recipe)
    ]
    unused = next((image for image in made if is_whole(image)), None)
    if unused is not None and (promoted is None or not unused.property("retrofit_promoted_at")):
        why = f"image {unused.id} was already built and verified from this source and recipe"
        return Decision(build=False, promote=unused, reasons=(*reasons, why), notes=tuple(notes))
    if unused is not None:
        notes.append(
            f"image {unused.id} holds this source and recipe and was demoted by somebody:"
            " left so; --force builds again"
        )
        return Decision(build=False, promote=None, reasons=(), notes=tuple(notes))
    return Decision(build=True, promote=None, reasons=reasons, notes=tuple(notes))


def _reasons(image: Image | None, source: Source, recipe: str) -> tuple[str, ...]:
    """Say why `image` is not what a build would give now; empty when it is."""
    if image is None:
        return ("no amphora image of this target is promoted",)
    reasons = []
    product, version = image.property("source_product_name"), image.property("source_version_name")
    if product != source.product:
        reasons.append(f"source product changed from {product} to {source.product}")
    elif _is_older(source, image):
        pass  # an older source is never a reason to build
    elif version != source.version:
        reasons.append(f"new source version {source.version} (was {version})")
    elif image.property("retrofit_source_hash") != source.content_hash:
        reasons.append(f"the bytes of source version {version} changed")
    if image.property("retrofit_recipe") != recipe:
        was = image.property("retrofit_recipe") or "unknown"
        reasons.append(f"recipe changed from {was[:19]} to {recipe[:19]}")
    return tuple(reasons)


def _is_older(source: Source, image: Image) -> bool:
    return source.product == image.property("source_product_name") and version_key(
        source.version
    ) < version_key(image.property("source_version_name") or "")


def is_whole(image: Image) -> bool:
    """Say whether an image holds the very bytes that its run built and verified."""
    recorded = image.property("retrofit_image_hash")
    return bool(
        image.size and image.hash_value and recorded == f"{image.hash_algo}:{image.hash_value}"
    )


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What leaves the stage once `promoted` stands on it."""

    demote: tuple[Image, ...]
    hide: tuple[Image, ...]
    retire: tuple[Image, ...]
    notes: tuple[str, ...]


def rotate(inventory: Inventory, target: Target, *, promoted: str | None) -> Rotation:
    """Say which other images of the target lose the tag, are hidden, and are deleted.

    Without a promoted image nothing is rotated at all.
    """
    if promoted is None:
        return Rotation(demote=(), hide=(), retire=(), notes=())
    rules = target.publish
    ours = inventory.ours(target.name)
    others = [image for image in ours if image.id != promoted and image.status not in UNFINISHED]
    retire: list[Image] = []
    notes: list[str] = []
    for image in others[rules.keep - 1 :]:
        successors = [other for other in ours if octavia_order(other) > octavia_order(image)]
        free_from = min((other.created_at for other in successors), default=inventory.now)
        free_from += timedelta(hours=rules.retire_after)
        if image.protected:
            notes.append(f"image {image.id} is protected: kept")
        elif free_from > inventory.now:
            notes.append(
                f"image {image.id} stays until {free_from:%Y-%m-%d %H:%M} UTC"
                " (publish.retire_after): amphorae may still run on it"
            )
        else:
            retire.append(image)
    return Rotation(
        demote=tuple(image for image in others if rules.tag in image.tags),
        hide=tuple(
            image
            for image in others
            if rules.hide
            and not image.hidden
            and (rules.tag in image.tags or image.property("retrofit_promoted_at"))
        ),
        retire=tuple(retire),
        notes=tuple(notes),
    )


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


def warnings(inventory: Inventory, target: Target) -> list[str]:
    """Name what keeps Octavia from taking our image, or makes it take another one."""
    tag = target.publish.tag
    eligible = sorted(
        (image for image in inventory.images if is_eligible(image, tag)),
        key=octavia_order,
        reverse=True,
    )
    ours = {image.id for image in inventory.ours(target.name)}
    said = []
    if eligible and eligible[0].id not in ours:
        winner = eligible[0]
        said.append(
            f"Octavia takes image {winner.id} ({winner.name}, owner {winner.owner}), which is not"
            f" of target {target.name}: set amp_image_owner_id, or remove its tag {tag}"
        )
    if len(eligible) > 1:
        listed = ", ".join(image.id for image in eligible)
        said.append(f"{len(eligible)} active images carry the tag {tag}: {listed}")
    said.extend(
        f"image {image.id} carries the tag {tag} and is hidden: Octavia cannot see it"
        for image in sorted(inventory.images, key=octavia_order, reverse=True)
        if tag in image.tags and image.hidden and image.status == "active"
    )
    return said


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do now; every part carries its reason."""

    target: str
    choice: SourceChoice
    promoted: Image | None
    decision: Decision | None
    rotation: Rotation
    sweep: tuple[Image, ...]
    warnings: tuple[str, ...]

    def require(self) -> tuple[Source, Decision]:
        """Return the source and what to do with it; raises SourceError when there is none."""
        if self.choice.source is None or self.decision is None:
            raise self.choice.refusal()
        return self.choice.source, self.decision


def plan(
    inventory: Inventory,
    target: Target,
    choice: SourceChoice,
    *,
    recipe: str,
    host: str,
    force: bool = False,
    lock_shared: bool = False,
) -> Plan:
    """Put all decisions of one run together, as far as they can be known before it."""
    promoted = promoted_image(inventory, target)
    decision = None
    if choice.source is not None:
        decision = decide(inventory, target, choice.source, recipe=recipe, force=force)
    stays = decision.promote if decision is not None and decision.promote else promoted
    return Plan(
        target=target.name,
        choice=choice,
        promoted=promoted,
        decision=decision,
        rotation=rotate(inventory, target, promoted=stays.id if stays else None),
        sweep=tuple(leftovers(inventory, target, host=host, lock_shared=lock_shared)),
        warnings=tuple(warnings(inventory, target)),
    )


def ids(images: Iterable[Image]) -> tuple[str, ...]:
    """Return the ids of images."""
    return tuple(image.id for image in images)
