"""Compare two amphora images: packages, checks and properties; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from retrofit.archive.changes import package_changes
from retrofit.archive.evidence import Evidence, EvidenceError
from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.documents import Document, Text, Time
from retrofit.errors import ConfigError, RetrofitError
from retrofit.model import Image
from retrofit.observe.freshness import find_evidence
from retrofit.observe.target import take_inventory
from retrofit.operations.images import named_image
from retrofit.plan import Inventory, promoted_image
from retrofit.plan.image_state import DEMOTED_AT
from retrofit.runs.report_document import PackageDocument

OF_ONE_IMAGE = frozenset(
    {
        "retrofit_image_id", "retrofit_image_hash", "retrofit_image_ends",
        "retrofit_evidence", "retrofit_evidence_id", "retrofit_read_at",
    }
)  # fmt: skip
"""Properties that differ between any two images."""


class ComparedDocument(Document):
    """One of the two images."""

    id: Text
    name: Text
    created_at: Time


class ChangeDocument(Document):
    """A check or a property that differs; null where one image does not have it."""

    name: Text
    before: Text | None
    after: Text | None


class DiffDocument(Document):
    """What differs between two images."""

    target: Text
    before: ComparedDocument
    after: ComparedDocument
    packages: tuple[PackageDocument, ...] | None = Field(
        description="Null where an image has no evidence of its packages."
    )
    checks: tuple[ChangeDocument, ...] | None = Field(description="Null as `packages` is.")
    properties: tuple[ChangeDocument, ...]
    unknown: Text | None = Field(description="Why packages and checks are not known.")


def diff_images(
    before: str | None, after: str | None, targets: Iterable[Target], settings: Settings
) -> DiffDocument:
    """Compare two images by their ids, or the beginnings of them.

    Without `after` the promoted image is the second; without both, the one that was demoted last is
    the first. Raises CloudError, PublishError for an image that is not ours, and ConfigError.
    """
    several = tuple(targets)
    if before is None:
        if len(several) != 1:
            raise ConfigError(
                "there are several targets: it is not clear which images are meant",
                hint="name two images, or one target with --target",
            )
        target = several[0]
    else:
        target = named_image(before, several).target
    glance = Glance.connect(target.cloud)
    inventory = take_inventory(target, glance)
    new = _image(after, inventory, target, several) if after else _promoted(inventory, target)
    old = (
        _image(before, inventory, target, several) if before else _previous(inventory, target, new)
    )
    evidence, unknown = _evidence(old, new, settings, glance)
    return DiffDocument(
        target=target.name,
        before=_compared(old),
        after=_compared(new),
        packages=None
        if evidence is None
        else tuple(PackageDocument.of(change) for change in package_changes(*evidence)),
        checks=None
        if evidence is None
        else tuple(_changes(evidence[0].checks, evidence[1].checks)),
        properties=tuple(
            change
            for change in _changes(old.properties, new.properties)
            if change.name not in OF_ONE_IMAGE
        ),
        unknown=unknown,
    )


def _image(image_id: str, inventory: Inventory, target: Target, targets: Iterable[Target]) -> Image:
    named = named_image(image_id, targets)
    found = next((image for image in inventory.ours(target) if image.id == named.id), None)
    if found is None:
        raise ConfigError(
            f"image {named.id} is of target {named.target.name}, and not of {target.name}",
            hint="name two images of one target: `retrofit list` shows them",
        )
    return found


def _promoted(inventory: Inventory, target: Target) -> Image:
    found = promoted_image(inventory, target)
    if found is None:
        raise ConfigError(
            f"no image of target {target.name} is promoted",
            hint="name two images: `retrofit list` shows them",
        )
    return found


def _previous(inventory: Inventory, target: Target, after: Image) -> Image:
    """Return the image that was demoted last."""
    demoted = [
        (left, image)
        for image in inventory.ours(target)
        if image.id != after.id and (left := image.time(DEMOTED_AT)) is not None
    ]
    if not demoted:
        raise ConfigError(
            f"no image of target {target.name} was demoted",
            hint="name two images: `retrofit list` shows them",
        )
    return max(demoted, key=lambda each: (each[0], each[1].id))[1]


def _evidence(
    old: Image, new: Image, settings: Settings, glance: Glance
) -> tuple[tuple[Evidence, Evidence] | None, str | None]:
    """Return the evidence of both images, or the reason why that of one is not known."""
    found = []
    for image in (old, new):
        try:
            found.append(find_evidence(image, settings.paths.cache, glance))
        except (EvidenceError, RetrofitError) as error:
            reason = error.message if isinstance(error, RetrofitError) else str(error)
            return None, f"image {image.id}: {reason}"
    return (found[0], found[1]), None


def _compared(image: Image) -> ComparedDocument:
    return ComparedDocument(id=image.id, name=image.name, created_at=image.created_at)


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[ChangeDocument]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield ChangeDocument(name=name, before=before.get(name), after=after.get(name))
