"""A file on local disk as a new image in Glance, whole, or no image at all."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from retrofit.cloud import Glance, Removal
from retrofit.errors import RetrofitError
from retrofit.model import Image
from retrofit.patience import Setback, repeated
from retrofit.progress import Progress, silent

log = structlog.get_logger(__name__)


def upload(
    glance: Glance,
    attributes: Mapping[str, Any],
    path: Path,
    progress: Progress = silent,
    *,
    retries: int,
    finish: Callable[[Image], None] = lambda _: None,
) -> Image:
    """Register an image and give it the bytes of `path`; `retries` times more where that may help.

    Each attempt has a record of its own: Glance answers 500 to a second upload into the same one.
    `finish` does what an image needs to be whole; one that it fails on is deleted as well.
    Raises PublishError or CloudError, and then no record of ours is left, or the next run's sweep
    finds it.
    """

    def attempt() -> Image:
        # An id of our own names the record even where the answer to its creation was lost.
        number = new_id()
        try:
            record = glance.create({**attributes, "id": number})
            image = glance.upload(record, path, progress)
            finish(image)
        except BaseException:
            _discard(glance, number)
            raise
        return image

    return repeated(attempt, _judge, what="upload an image", retries=retries)


def new_id() -> str:
    """Return an id for a new record, as Glance wants ids."""
    return str(uuid.uuid4())


def _judge(error: Exception) -> Setback | None:
    return Setback() if isinstance(error, RetrofitError) and error.passing else None


def _discard(glance: Glance, image_id: str) -> None:
    """Delete a record, on the way out of a failure that stays the reported one."""
    try:
        removal = glance.delete(image_id)
    except RetrofitError as error:
        log.warning("record left for the next sweep", image_id=image_id, reason=error.message)
        return
    if removal not in {Removal.DELETED, Removal.GONE}:
        log.warning("record left for the next sweep", image_id=image_id, reason=str(removal))
