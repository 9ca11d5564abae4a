"""The bytes of an image in Glance's store: whether they are there, read block by block or whole."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from glanceclient import exc as glance_exc

from retrofit.model import Image
from retrofit.system.digests import END, digest_of_ends
from retrofit.system.http_body import InterruptedTransferError, read_body

LOWEST_ERROR = 400
NO_CONTENT = 204
PARTIAL_CONTENT = 206
ATTEMPTS = 2
"""At one block: an answer that ends early twice is one of a store that has no more."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a look at an image's bytes gave: exactly one of the three.

    `digest` is of what was read, with its algorithm; `missing` is why bytes are not there, and
    `unknown` why that could not be found out, as clauses.
    """

    digest: str | None = None
    missing: str | None = None
    unknown: str | None = None


class _MissingError(Exception):
    """Bytes that Glance has on record are not in its store."""


class _UnknownError(Exception):
    """A server between here and the store answers whole images only."""


def read_ends(client: Any, image: Image, *, timeout: float) -> Reading:
    """Read the first and the last block of an image, by two requests for a range.

    `timeout` is in seconds. Raises what the client raises where Glance does not answer.
    """
    size = image.size or 0
    try:
        first = _block(client, image, 0, min(END, size), timeout)
        last = _block(client, image, max(0, size - END), size, timeout)
    except _MissingError as error:
        return Reading(missing=str(error))
    except _UnknownError as error:
        return Reading(unknown=str(error))
    return Reading(digest=digest_of_ends(first, last))


def read_whole(client: Any, image: Image, *, algorithm: str, timeout: float) -> Reading:
    """Read all bytes of an image; one attempt. Raises InterruptedTransferError when it breaks."""
    digest, size = hashlib.new(algorithm), 0
    answer, _ = client.http_client.get(f"/v2/images/{image.id}/file")
    with closing(answer):
        if answer.status_code == NO_CONTENT:
            return Reading(missing="the store has no data of it")
        for block in read_body(answer.raw, timeout, decode=True):
            digest.update(block)
            size += len(block)
    if size != image.size:
        raise InterruptedTransferError(f"{size} of {image.size} bytes arrived")
    return Reading(digest=f"{algorithm}:{digest.hexdigest()}")


def _block(client: Any, image: Image, start: int, end: int, timeout: float) -> bytes:
    """Return the bytes from `start` to before `end`."""
    if end <= start:
        raise _MissingError("it has no bytes")
    found = 0
    for _ in range(ATTEMPTS):
        # Not by the client, which quotes the equals sign in a header's value.
        wire = client.http_client
        answer = wire.session.get(
            f"{wire.endpoint_override}/v2/images/{image.id}/file",
            headers={"Range": f"bytes={start}-{end - 1}"},
            raise_exc=False,
            stream=True,
        )
        with closing(answer):
            if answer.status_code >= LOWEST_ERROR:
                raise glance_exc.from_response(answer, answer.content)
            if answer.status_code == NO_CONTENT:
                raise _MissingError("the store has no data of it")
            if answer.status_code != PARTIAL_CONTENT and start > 0:
                # Only the block would be of use: the rest is not read.
                raise _UnknownError("Glance, or a proxy before it, gives no part of an image")
            block = _read(answer.raw, end - start, timeout)
        found = len(block)
        if found == end - start:
            return block
    raise _MissingError(f"it ends after {start + found} of {image.size} bytes")


def _read(raw: Any, wanted: int, timeout: float) -> bytes:
    """Read up to so many bytes of a body; what an early end leaves is returned."""
    block = b""
    try:
        for part in read_body(raw, timeout, decode=True):
            block += part
            if len(block) >= wanted:
                break
    except InterruptedTransferError as error:
        if "no data for" in str(error):
            raise
    return block[:wanted]
