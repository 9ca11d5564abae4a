"""Keep the evidence of a build beside its image in Glance, where any machine finds it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from retrofit.cloud import Glance, MissingImageError, Removal
from retrofit.config import Target
from retrofit.errors import RetrofitError
from retrofit.model import Image
from retrofit.plan import Inventory
from retrofit.plan.companions import (
    EVIDENCE_ID,
    EVIDENCE_OF,
    companions_of,
    identity_of_companion,
    is_companion_of,
    to_move,
)
from retrofit.plan.identity import IMAGE_ID, RUN_ID, STATE_ID
from retrofit.publish.upload import upload

PROPERTIES = {
    "retrofit_evidence_of": "Id of the amphora image whose packages it lists.",
    "retrofit_evidence_target": "Target of that image.",
    "retrofit_image_id": "Id of the record itself: a copy has another one.",
    "retrofit_installation": "Installation that it belongs to.",
    "retrofit_state_id": "State directory (`paths.state`) whose run made it.",
    "retrofit_run_id": "Run that made it.",
}
"""Every property of a companion. `retrofit_target` is none: 0.1.0 would take it for an image."""

log = structlog.get_logger(__name__)


def keep_evidence(
    image: Image,
    path: Path,
    target: Target,
    glance: Glance,
    *,
    run_id: str,
    state_id: str,
) -> str:
    """Upload the file of an image's evidence, and return the id of its record.

    The image names it afterwards: a run that dies in between leaves a companion that goes with its
    image, and the next reader takes the evidence from the image itself.
    Raises CloudError or PublishError; the image is whole without it.
    """

    identity = identity_of_companion(target, glance.project_id)

    def attributes(record_id: str) -> dict[str, Any]:
        return {
            "id": record_id,
            "name": f"{image.name} evidence",
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "private",
            "min_disk": 0,
            "os_hidden": True,
            EVIDENCE_OF: image.id,
            IMAGE_ID: record_id,
            **identity,
            STATE_ID: state_id,
            RUN_ID: run_id,
        }

    record = upload(glance, attributes, path, retries=target.cloud.retries)
    glance.update(image.id, {EVIDENCE_ID: record.id})
    return record.id


def move_evidence(image: Image, inventory: Inventory, target: Target, glance: Glance) -> bool:
    """Let the companions of an image name our present identity; return True if one did not.

    Before the image itself does: a death in between leaves a companion that is found by its image,
    and not one that nobody lists. Raises CloudError.
    """
    found = {record.id: record for record in inventory.images}
    named = image.property(EVIDENCE_ID)
    if named is not None and named not in found:
        record = glance.get(named)
        if record is not None:
            found[record.id] = record
    moved = False
    for record in to_move(image, found.values(), target):
        with suppress(MissingImageError):  # others deleted it meanwhile
            glance.update(record.id, dict(identity_of_companion(target, glance.project_id)))
            moved = True
            log.info("evidence taken over", image_id=image.id, evidence_id=record.id)
    return moved


def delete_evidence(image: Image, inventory: Inventory, target: Target, glance: Glance) -> None:
    """Delete the companions of an image that is about to be retired: none outlives its image.

    One that is not provably this image's stays, and so does one that Glance does not delete: the
    clean-up of a later run finds it.
    """
    found = {record.id for record in companions_of(image, inventory, target)}
    try:
        named = image.property(EVIDENCE_ID)
        record = None if named is None or named in found else glance.get(named)
        if record is not None and is_companion_of(record, image):
            found.add(record.id)
        for record_id in sorted(found):
            removal = glance.delete(record_id)
            if removal not in {Removal.DELETED, Removal.GONE}:
                log.warning("evidence left for a later run to delete", reason=str(removal))
    except RetrofitError as error:
        log.warning("evidence left for a later run to delete", reason=error.message)


def is_orphan(record: Image, glance: Glance) -> bool:
    """Return True if the image that a companion names does not exist: Glance itself is asked."""
    image_id = record.property(EVIDENCE_OF)
    return image_id is None or glance.get(image_id) is None
