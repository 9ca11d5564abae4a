"""Read the bytes of amphora images, and compare them with what was recorded."""

from __future__ import annotations

import hashlib
from datetime import datetime

from retrofit.cloud import Glance
from retrofit.config import Target
from retrofit.model import Image
from retrofit.plan.presence import ENDS, Presence, damaged, is_reread_due, present


def observe_bytes(
    image: Image, target: Target, glance: Glance, now: datetime, *, may_read_whole: bool
) -> Presence:
    """Read the first and last block of an image; all of it where that is due and allowed.

    Raises CloudError where Glance does not answer.
    """
    if may_read_whole and is_reread_due(image, target, now):
        return read_all(image, glance, now)
    recorded = image.property(ENDS)
    found = glance.read_ends(image)
    if found.missing is not None:
        return damaged(image, now, found.missing)
    if found.unknown is not None:
        return _unknown(image, found.unknown)
    if recorded is None:
        return Presence(image_id=image.id)  # there, and which bytes they are is read later
    if found.digest != recorded:
        return damaged(image, now, "its first or last block differs")
    return present(image, now, whole=False)


def read_all(image: Image, glance: Glance, now: datetime) -> Presence:
    """Read all bytes of an image and compare them with the digest that was verified."""
    recorded = image.property("retrofit_image_hash") or ""
    algorithm = recorded.partition(":")[0]
    if algorithm not in hashlib.algorithms_available:
        return _unknown(image, f"retrofit_image_hash is {recorded or 'not set'}")
    found = glance.read_whole(image, algorithm)
    if found.missing is not None:
        return damaged(image, now, found.missing)
    if found.unknown is not None:
        return _unknown(image, found.unknown)
    if found.digest != recorded:
        return damaged(image, now, f"they are {found.digest}, verified were {recorded}")
    return present(image, now, whole=True, ends=glance.read_ends(image).digest)


def _unknown(image: Image, why: str) -> Presence:
    return Presence(
        image_id=image.id,
        unknown=f"it is not known whether the bytes of image {image.id} are still there: {why}",
    )
