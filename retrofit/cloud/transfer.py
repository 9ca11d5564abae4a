"""Transfers of an image's bytes from and to Glance: one attempt each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin

from glanceclient import exc as glance_exc

from retrofit.cloud.requests import LIMIT
from retrofit.errors import PublishError, SourceError
from retrofit.lock.fence import require_write_permit
from retrofit.model import Image
from retrofit.system.digests import Digests
from retrofit.system.http_body import BLOCK, InterruptedTransferError, read_body
from retrofit.system.progress import Progress

NO_CONTENT = 204
LOWEST_ERROR = 400
REDIRECTS = frozenset({301, 302, 303, 305, 307, 308})
"""keystoneauth's: none of them makes a PUT a GET."""
MOST_REDIRECTS = 5


def receive(
    client: Any, image: Image, path: Path, progress: Progress, *, timeout: float
) -> Digests:
    """Write an image's bytes to `path`, which is replaced.

    Raises InterruptedTransferError when not all bytes arrive, or none within `timeout` seconds;
    SourceError for an image without data.
    """
    path.unlink(missing_ok=True)
    # Not the client's images.data(): it waits for ever where bytes trickle.
    answer, _ = client.http_client.get(f"/v2/images/{image.id}/file")
    with closing(answer):
        if answer.status_code == NO_CONTENT:
            raise SourceError(f"source image {image.id} has no data", hint="check the Glance store")
        received = _write(read_body(answer.raw, timeout, decode=True), path, image, progress)
    if image.size is not None and received.size != image.size:
        raise InterruptedTransferError(f"{received.size} of {image.size} bytes arrived")
    return received


def is_recorded(image: Image, received: Digests) -> bool:
    """Return True if the digests match the best that Glance has of an image, or it has none."""
    hashes = received.hex()
    if image.hash_value and image.hash_algo and image.hash_algo in hashes:
        return hashes[image.hash_algo] == image.hash_value
    return image.checksum in {None, hashes.get("md5")}


def send(client: Any, image_id: str, path: Path, progress: Progress, *, timeout: float) -> None:
    """Upload a queued image's data, by a request that is never repeated.

    keystoneauth would answer a 401 by a new token and the same request, and a redirect by the same
    one elsewhere, with a stream that has been read: Glance would store an empty image. Hence a
    fresh token, no second request within this one, redirects with the file read anew, and the size
    declared twice: as Content-Length, since not all fronts take chunks, and to Glance by a header
    of its own. `timeout` is in seconds; for the answer there are `LIMIT` times as many, since a
    front that buffers begins to pass the bytes on only when it has all of them.
    Raises PublishError for a file that changes meanwhile, and for redirects without an end.
    """
    require_write_permit()
    size = path.stat().st_size
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        "x-openstack-image-size": str(size),
    }
    wire = client.http_client
    url = f"{wire.endpoint_override}/v2/images/{image_id}/file"
    wire.session.invalidate()
    for _ in range(MOST_REDIRECTS + 1):
        with path.open("rb") as file:
            answer = wire.session.put(
                url,
                headers=headers,
                data=_Body(file, size, progress),
                allow_reauth=False,
                redirect=False,
                raise_exc=False,
                timeout=(timeout, LIMIT * timeout),
            )
        if answer.status_code not in REDIRECTS or "Location" not in answer.headers:
            break
        url = _redirected(url, answer.headers["Location"])
    else:
        raise PublishError(
            f"cannot upload image {image_id}: more than {MOST_REDIRECTS} redirects, the last one"
            f" to {url}",
            hint="check the proxy before Glance",
        )
    if answer.status_code >= LOWEST_ERROR:
        raise glance_exc.from_response(answer, answer.content)


def _redirected(url: str, location: str) -> str:
    """Return the target of a redirect. Raises PublishError where it would expose the token."""
    target = urljoin(url, location)
    if url.startswith("https:") and not target.startswith("https:"):
        raise PublishError(
            f"{url} redirects an upload to {target}, without TLS",
            hint="check the proxy before Glance",
        )
    return target


def _write(blocks: Iterable[bytes], path: Path, image: Image, progress: Progress) -> Digests:
    received = Digests(also=(image.hash_algo,) if image.hash_algo else ())
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
            received.update(block)
            progress("downloading the source", received.size / image.size if image.size else None)
    return received


class _Body:
    """The bytes of a file of known size, with a report of the progress."""

    def __init__(self, file: BinaryIO, size: int, progress: Progress) -> None:
        self._file = file
        self._size = size
        self._progress = progress

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        left = self._size
        while left > 0:
            block = self._file.read(min(BLOCK, left))
            if not block:
                raise PublishError(
                    f"{self._file.name} became shorter during its upload",
                    hint="paths.work must belong to retrofit alone",
                )
            left -= len(block)
            yield block
            self._progress("uploading the image", 1 - left / self._size)
