"""The records of evidence beside amphora images: whose each is, and which has outlived its image.

An amphora image names its companion and the companion names its image: that is the proof. A record
that names an image which does not exist any more, itself and our installation, is an orphan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from retrofit.config import Target
from retrofit.model import Image
from retrofit.plan.identity import IMAGE_ID, INSTALLATION, Identity
from retrofit.plan.inventory import Inventory

EVIDENCE_OF = "retrofit_evidence_of"
"""Property of a companion: the id of its amphora image."""
EVIDENCE_TARGET = "retrofit_evidence_target"
"""Property of a companion: the target of its amphora image."""
EVIDENCE = "retrofit_evidence"
"""Property of an amphora image: SHA-256 of its evidence, in hex."""
EVIDENCE_ID = "retrofit_evidence_id"
"""Property of an amphora image: the id of its companion, once that is whole."""


def is_companion_of(record: Image, image: Image) -> bool:
    """Return True if a record is the evidence of an image of ours, and nobody else needs it."""
    return (
        _is_companion(record, image.owner)
        and record.property(EVIDENCE_OF) == image.id
        and image.property(EVIDENCE_ID) == record.id
    )


def companions_of(image: Image, inventory: Inventory, target: Target) -> list[Image]:
    """Return the listed evidence of an image of ours, with that of runs that died.

    What the image does not name is its evidence where it names our installation and target.
    """
    return [
        record
        for record in inventory.images
        if is_companion_of(record, image)
        or (_is_ours(record, inventory, target) and record.property(EVIDENCE_OF) == image.id)
    ]


def identity_of_companion(target: Target, project_id: str) -> Mapping[str, str]:
    """Return the properties by which a companion names our installation and target."""
    identity = Identity.of(target, project_id)
    return {INSTALLATION: identity.installation, EVIDENCE_TARGET: identity.target}


def to_move(image: Image, records: Iterable[Image], target: Target) -> list[Image]:
    """Return the companions of an image that do not name our installation and target yet.

    The image is ours, or about to be: its companions go with it. One that the image does not name
    is of a run that died: it is the image's where both name the same installation.
    """
    ours = identity_of_companion(target, image.owner)
    return [
        record
        for record in records
        if (
            is_companion_of(record, image)
            or (
                _is_companion(record, image.owner)
                and record.property(EVIDENCE_OF) == image.id
                and record.property(INSTALLATION) == image.property(INSTALLATION)
            )
        )
        and any(record.property(name) != value for name, value in ours.items())
    ]


def orphans(inventory: Inventory, target: Target) -> list[Image]:
    """Return the companions of ours whose image is not among those listed, or that are unfinished.

    Whether that image is gone has to be asked of Glance before one is deleted. What another machine
    without a common lock left unfinished may be its upload under way.
    """
    listed = {image.id for image in inventory.images}
    return [
        record
        for record in inventory.images
        if _is_ours(record, inventory, target)
        and (
            inventory.machine.is_leftover(record)
            if record.is_unfinished
            else record.property(EVIDENCE_OF) not in listed
        )
    ]


def tagged(inventory: Inventory, target: Target) -> list[Image]:
    """Return the companions of ours that another hand gave a tag: no amphora starts from one."""
    return [
        record
        for record in inventory.images
        if record.tags and _names_us(record, inventory, target) and not record.is_unfinished
    ]


def _is_ours(record: Image, inventory: Inventory, target: Target) -> bool:
    return _is_companion(record, inventory.own_project) and _names_us(record, inventory, target)


def _names_us(record: Image, inventory: Inventory, target: Target) -> bool:
    identity = inventory.identity(target)
    return (
        _names_itself(record, inventory.own_project)
        and record.property(INSTALLATION) in identity.installations
        and record.property(EVIDENCE_TARGET) in identity.targets
    )


def _is_companion(record: Image, owner: str) -> bool:
    return _names_itself(record, owner) and not record.tags and not record.protected


def _names_itself(record: Image, owner: str) -> bool:
    return (
        record.owner == owner
        and record.property(EVIDENCE_OF) is not None
        and record.property(IMAGE_ID) == record.id
        and not record.is_snapshot
    )
