"""Glance: the one truth about images."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import glanceclient
import requests
from glanceclient import exc as glance_exc
from keystoneauth1 import exceptions as ks_exc

from retrofit.cloud.config import cloud_region
from retrofit.cloud.errors import MissingImageError, translated
from retrofit.cloud.image import as_image, holds
from retrofit.config import CloudSettings
from retrofit.digests import Digests
from retrofit.errors import ConfigError, PublishError, SourceError, SourceVanishedError
from retrofit.model import Image
from retrofit.progress import Progress, silent
from retrofit.write_permit import require_write_permit

ACTIVATION_TIMEOUT = 600.0
"""Seconds that Glance may take from the last byte of an upload to `active`."""


class Removal(StrEnum):
    """How an attempt to delete an image ended."""

    DELETED = "deleted"
    GONE = "already gone"
    IN_USE = "in use"
    REFUSED = "refused"


class Glance:
    """The image service of one cloud and region, as one project."""

    def __init__(self, client: Any, *, session: Any, project_id: str, where: str) -> None:
        self._client = client
        self._session = session
        self.project_id = project_id
        self.where = where

    @classmethod
    def connect(cls, settings: CloudSettings) -> Glance:
        """Log in and find the image endpoint.

        Raises ConfigError for a cloud that is not configured, CloudError for one that cannot be
        reached, refuses the credentials, or has no image service in the region.
        """
        region = cloud_region(settings)
        where = region.name or "the cloud of OS_AUTH_URL"
        if region.region_name:
            where = f"{where} (region {region.region_name})"
        with translated(f"log in to {where}", auth_url=region.get_auth_args().get("auth_url")):
            session = region.get_session()
            session.timeout = settings.timeout
            endpoint = session.get_endpoint(
                service_type="image",
                region_name=region.region_name,
                interface=region.get_interface("image"),
            )
            if endpoint is None:
                raise ks_exc.EndpointNotFound(f"no image endpoint in {where}")
            project_id = session.get_project_id()
        if project_id is None:
            raise ConfigError(
                f"the credentials for {where} name no project",
                hint="set project_name and project_domain_name in clouds.yaml or OS_PROJECT_NAME",
            )
        client = glanceclient.Client(
            "2",
            session=session,
            endpoint_override=endpoint,
            connect_retries=settings.connect_retries,
        )
        return cls(client, session=session, project_id=project_id, where=where)

    def list(self, filters: Mapping[str, Any], *, hidden: bool | None = None) -> list[Image]:
        """List images that match all `filters`; `hidden` None lists hidden and other ones."""
        found: dict[str, Image] = {}
        with translated("list images"):
            for hide in (False, True) if hidden is None else (hidden,):
                # A fresh dict for each call: the client changes the one it is given.
                for raw in self._client.images.list(filters={**filters, "os_hidden": hide}):
                    image = as_image(raw)
                    found[image.id] = image
        return list(found.values())

    def get(self, image_id: str) -> Image | None:
        """Read one image; None when there is none of this id."""
        try:
            with translated(f"read image {image_id}"):
                return as_image(self._client.images.get(image_id))
        except MissingImageError:
            return None

    def octavia_takes(self, tag: str, owner: str | None = None) -> Image | None:
        """Ask the way Octavia asks (its glance_driver.get_image_id_by_tag) which image is next."""
        filters = {"tag": [tag], "status": "active"}
        if owner:
            filters["owner"] = owner
        with translated(f"ask for the newest image tagged {tag}"):
            newest = self._client.images.list(filters=filters, sort="created_at:desc", limit=2)
            return next((as_image(raw) for raw in newest), None)

    def download(self, image: Image, path: Path, progress: Progress = silent) -> Digests:
        """Write an image's bytes to `path`, checked against Glance's own hash on the way.

        Returns their digests, computed on the way too.
        Raises SourceError when the image vanished or its bytes are not what Glance recorded.
        """
        name = f"source image {image.id}"
        try:
            with translated(f"download {name}"):
                chunks = self._client.images.data(image.id)
                if chunks is None or getattr(chunks, "iterable", chunks) is None:
                    raise SourceError(f"{name} has no data", hint="check the Glance store")
                received = _write(chunks, path, image.size, progress)
        except MissingImageError as error:
            raise SourceVanishedError(
                f"{name} vanished", hint="the synchroniser may have replaced it; run again"
            ) from error
        except BrokenPipeError as error:  # the client's way to say that the hash differs
            raise SourceError(
                f"the bytes of {name} are not what Glance recorded: {error}",
                hint="the store is corrupt; let the synchroniser fetch the image again",
            ) from error
        except (TypeError, requests.exceptions.ChunkedEncodingError) as error:
            raise SourceError(
                f"the download of {name} ended early: {error}", hint="check the Glance store"
            ) from error
        if image.size is not None and received.size != image.size:
            raise SourceError(
                f"{name} is {image.size} bytes, {received.size} arrived",
                hint="check the Glance store",
            )
        return received

    def create(self, attributes: Mapping[str, Any]) -> Image:
        """Register an image, all its properties with it; its `created_at` is now for good."""
        require_write_permit()
        with translated("create an image record", failure=PublishError):
            return as_image(self._client.images.create(**attributes))

    def upload(self, image: Image, path: Path, progress: Progress = silent) -> Image:
        """Give a queued image its data and wait until it is active and holds just these bytes.

        Raises PublishError; the record then is of no further use and has to be deleted.
        """
        size = path.stat().st_size
        # A token that expires during the upload makes keystoneauth replay the request with a
        # consumed stream, which Glance takes for an empty image: start with a fresh one, and
        # declare the size so that Glance refuses what is shorter.
        self._session.invalidate()
        require_write_permit()
        with (
            path.open("rb") as file,
            translated(f"upload image {image.id}", failure=PublishError),
        ):
            self._client.images.upload(image.id, _Watched(file, size, progress), image_size=size)
        return self._settled(image.id, path, size)

    def _settled(self, image_id: str, path: Path, size: int) -> Image:
        deadline = time.monotonic() + ACTIVATION_TIMEOUT
        while True:
            image = self.get(image_id)
            if image is None:
                raise PublishError(f"image {image_id} vanished after its upload")
            if image.status == "active":
                break
            if image.status not in {"queued", "saving"} or time.monotonic() > deadline:
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

    def tag(self, image_id: str, tag: str) -> None:
        """Add one tag, leaving all others alone."""
        require_write_permit()
        with translated(f"tag image {image_id} with {tag}", failure=PublishError):
            self._client.image_tags.update(image_id, tag)

    def untag(self, image_id: str, tag: str) -> None:
        """Remove one tag; a tag or image that is not there is no error."""
        require_write_permit()
        try:
            with translated(f"remove tag {tag} from image {image_id}", failure=PublishError):
                self._client.image_tags.delete(image_id, tag)
        except MissingImageError:
            pass

    def update(self, image_id: str, changes: Mapping[str, Any]) -> None:
        """Set attributes or properties of an image; those whose value is None are removed."""
        kept = {key: value for key, value in changes.items() if value is not None}
        removed = [key for key, value in changes.items() if value is None]
        require_write_permit()
        with translated(f"update image {image_id}", failure=PublishError):
            self._client.images.update(image_id, remove_props=removed, **kept)

    def delete(self, image_id: str) -> Removal:
        """Try to delete an image, and say how it went; refusals are answers, not errors."""
        require_write_permit()
        try:
            with translated(f"delete image {image_id}", failure=PublishError):
                self._client.images.delete(image_id)
        except MissingImageError:
            return Removal.GONE
        except PublishError as error:
            if isinstance(error.__cause__, glance_exc.HTTPConflict):
                return Removal.IN_USE
            if isinstance(error.__cause__, glance_exc.HTTPForbidden):
                return Removal.REFUSED
            raise
        return Removal.DELETED


def _write(chunks: Iterable[bytes], path: Path, size: int | None, progress: Progress) -> Digests:
    received = Digests()
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
            received.update(chunk)
            progress("downloading the source", received.size / size if size else None)
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
