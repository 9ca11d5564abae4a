"""The bytes of an image, from Glance and to it: one attempt each."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from retrofit.digests import Digests
from retrofit.errors import SourceError
from retrofit.model import Image
from retrofit.patience import InterruptedTransferError, arriving
from retrofit.progress import Progress
from retrofit.write_permit import require_write_permit

NO_CONTENT = 204


def receive(
    client: Any, image: Image, path: Path, progress: Progress, *, timeout: float
) -> Digests:
    """Write an image's bytes to `path`, in place of what an earlier attempt left there.

    Raises InterruptedTransferError when not all of them come, or too few within `timeout` seconds;
    SourceError when there are none.
    """
    path.unlink(missing_ok=True)
    # Not the client's images.data(): it waits for ever where bytes trickle.
    answer, _ = client.http_client.get(f"/v2/images/{image.id}/file")
    with closing(answer):
        if answer.status_code == NO_CONTENT:
            raise SourceError(f"source image {image.id} has no data", hint="check the Glance store")
        received = _write(arriving(answer.raw, timeout, decode=True), path, image, progress)
    if image.size is not None and received.size != image.size:
        raise InterruptedTransferError(f"{received.size} of {image.size} bytes arrived")
    return received


def is_recorded(image: Image, received: Digests) -> bool:
    """Compare with the best digest that Glance has of an image, as far as it has any."""
    hashes = received.hex()
    if image.hash_value and image.hash_algo and image.hash_algo in hashes:
        return hashes[image.hash_algo] == image.hash_value
    return image.checksum in {None, hashes.get("md5")}


def send(client: Any, image_id: str, path: Path, progress: Progress) -> None:
    """Give a queued image its data, by a request that nobody repeats.

    keystoneauth would answer a 401 by a new token and the same request, whose stream has been
    read: Glance takes that for an empty image. So: a fresh token, no second request within this
    one, and the size declared, so that Glance refuses what is shorter.
    """
    size = path.stat().st_size
    headers = {
        "Content-Type": "application/octet-stream",
        "x-openstack-image-size": str(size),
    }
    with path.open("rb") as file:
        require_write_permit()
        client.http_client.session.invalidate()
        client.http_client.put(
            f"/v2/images/{image_id}/file",
            headers=headers,
            data=_Watched(file, size, progress),
            allow_reauth=False,
        )


def _write(blocks: Iterable[bytes], path: Path, image: Image, progress: Progress) -> Digests:
    received = Digests(also=(image.hash_algo,) if image.hash_algo else ())
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
            received.update(block)
            progress("downloading the source", received.size / image.size if image.size else None)
    return received


class _Watched:
    """A file whose reader tells how far it is."""

    def __init__(self, file: BinaryIO, size: int, progress: Progress) -> None:
        self._file = file
        self._size = size
        self._progress = progress

    def read(self, amount: int = -1) -> bytes:
        data = self._file.read(amount)
        self._progress("uploading the image", self._file.tell() / max(self._size, 1))
        return data
