"""A file on local disk as a new image in Glance, whole, or no image at all."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from retrofit.cloud import Glance, Removal
from retrofit.errors import PublishError, RetrofitError
from retrofit.model import Image
from retrofit.system.progress import Progress, silent
from retrofit.system.retry import Retryable, call_with_retries

ATTRIBUTES = frozenset(
    {"id", "name", "disk_format", "container_format", "visibility", "min_disk", "os_hidden", "tags"}
)
"""What Glance keeps as attributes of a record, not as properties."""

log = structlog.get_logger(__name__)


def upload(
    glance: Glance,
    attributes: Callable[[str], Mapping[str, Any]],
    path: Path,
    progress: Progress = silent,
    *,
    retries: int,
    finish: Callable[[Image], None] = lambda _: None,
) -> Image:
    """Register an image and give it the bytes of `path`; `retries` times more where that may help.

    `attributes` returns those of a record by its id. Each attempt has a record of its own: Glance
    answers 500 to a second upload into the same one.
    `finish` does what an image needs to be whole; one that it fails on is deleted as well.
    Raises PublishError or CloudError, and then no record of ours is left, or the next run
    finds it.
    """

    def attempt() -> Image:
        # An id of our own names the record even where the answer to its creation was lost.
        number = new_id()
        try:
            asked = attributes(number)
            record = glance.create(asked)
            require_recognised(record, asked, owner=glance.project_id)
            image = glance.upload(record, path, progress)
            finish(image)
        except BaseException:
            _discard(glance, number)
            raise
        return image

    return call_with_retries(attempt, _classify, retries=retries, request="upload an image")


def require_recognised(record: Image, sent: Mapping[str, Any], *, owner: str) -> None:
    """Raise PublishError unless a new record is what was asked for: else no run would know it.

    Every run would make one more of them.
    """
    wrong = [
        name
        for name, value in sent.items()
        if name not in ATTRIBUTES and record.property(name) != value
    ]
    if record.id != sent["id"]:
        wrong.append("id")
    if record.owner != owner:
        wrong.append("owner")
    if wrong or record.is_snapshot:
        what = ", ".join(sorted(wrong)) or "the marks of a snapshot"
        raise PublishError(
            f"the new record {record.id} is not recognised as retrofit's: Glance has another value"
            f" of {what}",
            hint="something in front of Glance, or a plugin of it, changes properties; see"
            " publish.properties",
        )


def new_id() -> str:
    """Return an id for a new record, as Glance wants ids."""
    return str(uuid.uuid4())


def _classify(error: Exception) -> Retryable | None:
    return Retryable() if isinstance(error, RetrofitError) and error.passing else None


def _discard(glance: Glance, image_id: str) -> None:
    """Delete a record, on the way out of a failure that stays the reported one.

    Not one that is tagged: another machine, without a common lock, has promoted it meanwhile.
    """
    try:
        image = glance.get(image_id)
        if image is not None and image.tags:
            log.warning("record left: it is tagged", image_id=image_id, tags=sorted(image.tags))
            return
        removal = glance.delete(image_id)
    except RetrofitError as error:
        log.warning(
            "record left for the next run to delete", image_id=image_id, reason=error.message
        )
        return
    if removal not in {Removal.DELETED, Removal.GONE}:
        log.warning(
            "record left for the next run to delete", image_id=image_id, reason=str(removal)
        )
