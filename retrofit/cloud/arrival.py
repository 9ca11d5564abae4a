"""The state of an image after its upload: whether its bytes arrived, and are the right ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from retrofit.cloud.image import holds
from retrofit.errors import PublishError, RetrofitError
from retrofit.model import Image

log = structlog.get_logger(__name__)

ACTIVATION_TIMEOUT = 600.0
"""Seconds from the last byte of an upload to `active`."""
ARRIVAL_TIMEOUT = 60.0
"""Seconds for Glance to finish storing an image after the connection to it was lost."""
LAG = 10.0
"""Seconds that reads may be behind writes: for so long a new image may seem not to be there."""

Read = Callable[[str], Image | None]
"""Reads an image by its id; None when there is none. Raises RetrofitError."""


def has_arrived(get: Read, image_id: str) -> bool:
    """Return True if the data arrived, although the upload ended without Glance's answer.

    A proxy may give up before Glance does, which may still be storing them.
    """
    deadline = time.monotonic() + ARRIVAL_TIMEOUT
    while True:
        try:
            image = get(image_id)
        except RetrofitError as error:
            log.warning("cannot check a broken upload", image_id=image_id, reason=error.message)
            return False
        lags = image is None and time.monotonic() < deadline - ARRIVAL_TIMEOUT + LAG
        if lags:
            time.sleep(1)
            continue
        if image is None or image.status != "saving" or time.monotonic() > deadline:
            return image is not None and image.status == "active"
        time.sleep(1)


def wait_until_active(get: Read, image_id: str, path: Path) -> Image:
    """Wait until an uploaded image is active, and compare it with its file. Raises PublishError."""
    size = path.stat().st_size
    begun = time.monotonic()
    while True:
        image = get(image_id)
        waited = time.monotonic() - begun
        if image is None:
            if waited > LAG:
                raise PublishError(f"image {image_id} vanished after its upload")
            time.sleep(1)
            continue
        if image.status == "active":
            break
        # Glance had all of it before it answered: "queued" is a store that takes its time, or
        # an answer that was not Glance's.
        limits = {"queued": ARRIVAL_TIMEOUT, "saving": ACTIVATION_TIMEOUT}
        if waited > limits.get(image.status, 0.0):
            raise PublishError(
                f'image {image_id} is "{image.status}" after its upload, expected "active"',
                hint="check the Glance store",
            )
        time.sleep(1)
    if image.size != size or not holds(image, path):
        raise PublishError(
            f"image {image_id} does not hold the bytes that were uploaded"
            f" ({image.size} of {size} bytes)",
            hint="check the Glance store and what is between it and here",
        )
    return image
