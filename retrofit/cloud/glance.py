"""Glance: the one truth about images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import glanceclient
import structlog
from glanceclient import exc as glance_exc
from keystoneauth1 import exceptions as ks_exc

from retrofit.cloud.config import cloud_region
from retrofit.cloud.errors import MissingImageError, translated
from retrofit.cloud.image import as_image, holds
from retrofit.cloud.requesting import Requests
from retrofit.cloud.transfer import NO_CONTENT, is_recorded, receive, send
from retrofit.config import CloudSettings
from retrofit.digests import Digests
from retrofit.errors import (
    CloudError,
    ConfigError,
    PublishError,
    RetrofitError,
    SourceError,
    SourceVanishedError,
)
from retrofit.model import Image
from retrofit.patience import InterruptedTransferError
from retrofit.progress import Progress, silent
from retrofit.write_permit import require_write_permit

log = structlog.get_logger(__name__)

T = TypeVar("T")

ACTIVATION_TIMEOUT = 600.0
"""Seconds that Glance may take from the last byte of an upload to `active`."""
ARRIVAL_TIMEOUT = 60.0
"""Seconds that Glance may take to store an image when the connection to it is lost already."""


class Removal(StrEnum):
    """How an attempt to delete an image ended."""

    DELETED = "deleted"
    GONE = "already gone"
    IN_USE = "in use"
    REFUSED = "refused"


class Glance:
    """The image service of one cloud and region, as one project.

    Whatever may be asked twice without harm is, where that may help: all but giving an image its
    data, which takes a new record each time (`retrofit.upload`).
    """

    def __init__(self, client: Any, *, requests: Requests, project_id: str, where: str) -> None:
        self._client = client
        self._requests = requests
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
        session = region.get_session()
        session.timeout = settings.timeout
        requests = Requests(session, retries=settings.retries, timeout=settings.timeout)

        def log_in() -> tuple[str, str | None]:
            endpoint = session.get_endpoint(
                service_type="image",
                region_name=region.region_name,
                interface=region.get_interface("image"),
            )
            if endpoint is None:
                raise ks_exc.EndpointNotFound(f"no image endpoint in {where}")
            return endpoint, session.get_project_id()

        action = f"log in to {where}"
        with translated(action, auth_url=region.get_auth_args().get("auth_url")):
            endpoint, project_id = requests.make(log_in, action)
        if project_id is None:
            raise ConfigError(
                f"the credentials for {where} name no project",
                hint="set project_name and project_domain_name in clouds.yaml or OS_PROJECT_NAME",
            )
        # The client's own retries would send a request again whose answer alone was lost.
        client = glanceclient.Client("2", session=session, endpoint_override=endpoint)
        # keystoneauth paces the requests of an adapter by the wall clock, even without any limit:
        # set back by an hour, every request would wait for an hour.
        client.http_client._rate_semaphore = None
        return cls(client, requests=requests, project_id=project_id, where=where)

    def list(self, filters: Mapping[str, Any], *, hidden: bool | None = None) -> list[Image]:
        """List images that match all `filters`; `hidden` None lists hidden and other ones."""

        def ask() -> dict[str, Image]:
            found: dict[str, Image] = {}
            for hide in (False, True) if hidden is None else (hidden,):
                # A fresh dict for each call: the client changes the one it is given.
                for raw in self._client.images.list(filters={**filters, "os_hidden": hide}):
                    image = as_image(raw)
                    found[image.id] = image
            return found

        return [*self._ask("list images", ask).values()]

    def get(self, image_id: str) -> Image | None:
        """Read one image; None when there is none of this id."""
        try:
            return self._ask(
                f"read image {image_id}", lambda: as_image(self._client.images.get(image_id))
            )
        except MissingImageError:
            return None

    def octavia_takes(self, tag: str, owner: str | None = None) -> Image | None:
        """Ask the way Octavia asks (its glance_driver.get_image_id_by_tag) which image is next."""

        def ask() -> Image | None:
            filters = {"tag": [tag], "status": "active"}
            if owner:
                filters["owner"] = owner
            newest = self._client.images.list(filters=filters, sort="created_at:desc", limit=2)
            return next((as_image(raw) for raw in newest), None)

        return self._ask(f"ask for the newest image tagged {tag}", ask)

    def download(self, image: Image, path: Path, progress: Progress = silent) -> Digests:
        """Write an image's bytes to `path`, and see that they are those that Glance recorded.

        Returns their digests, computed on the way. An attempt that breaks off starts over.
        Raises SourceError when the image vanished or its bytes are not what Glance recorded.
        """
        name = f"source image {image.id}"
        action = f"download {name}"
        try:
            with translated(action):
                received = self._requests.transfer(
                    lambda: receive(
                        self._client, image, path, progress, timeout=self._requests.timeout
                    ),
                    action,
                )
        except MissingImageError as error:
            raise SourceVanishedError(
                f"{name} vanished", hint="the synchroniser may have replaced it; run again"
            ) from error
        except CloudError as error:
            if isinstance(error.__cause__, InterruptedTransferError):
                raise SourceError(error.message, hint="check the Glance store") from error
            raise
        if not is_recorded(image, received):
            raise SourceError(
                f"the bytes of {name} are not what Glance recorded",
                hint="the store is corrupt; let the synchroniser fetch the image again",
            )
        return received

    def create(self, attributes: Mapping[str, Any]) -> Image:
        """Register an image, all its properties with it; its `created_at` is now for good.

        An `id` among the attributes makes the request one that can be made twice: Glance takes
        an id once, and what has it then is what we registered when the answer was lost.
        """
        action = "create an image record"

        def ask() -> Image:
            require_write_permit()
            try:
                return as_image(self._client.images.create(**attributes))
            except glance_exc.HTTPConflict as conflict:
                try:
                    return as_image(self._client.images.get(attributes["id"]))
                except glance_exc.HTTPNotFound:
                    raise conflict from None

        if "id" in attributes:
            return self._ask(action, ask, failure=PublishError)
        with translated(action, failure=PublishError):
            return self._requests.once(ask)

    def upload(self, image: Image, path: Path, progress: Progress = silent) -> Image:
        """Give a queued image its data and wait until it is active and holds just these bytes.

        Raises PublishError or CloudError; the record then is of no further use and has to be
        deleted, and with `passing` another record may do better.
        """
        try:
            with translated(f"upload image {image.id}", failure=PublishError):
                self._requests.once(lambda: send(self._client, image.id, path, progress))
                self._requests.require_status(NO_CONTENT)
        except RetrofitError as error:
            cause = error.__cause__
            # A token that ended on the way can be renewed, but the bytes have been read.
            error.passing = isinstance(cause, glance_exc.HTTPUnauthorized) or (
                isinstance(cause, Exception) and self._requests.may_pass(cause)
            )
            if not (error.passing and self._has_arrived(image.id)):
                raise
            log.warning("answer to an upload lost", image_id=image.id, reason=error.message)
        return self._settled(image.id, path)

    def _has_arrived(self, image_id: str) -> bool:
        """Say whether the data did arrive, though an upload ended without Glance's answer.

        What stands between may give up before Glance does: it may still be storing them.
        """
        deadline = time.monotonic() + ARRIVAL_TIMEOUT
        while True:
            try:
                image = self.get(image_id)
            except RetrofitError as error:
                log.warning("upload not looked after", image_id=image_id, reason=error.message)
                return False
            if image is None or image.status != "saving" or time.monotonic() > deadline:
                return image is not None and image.status == "active"
            time.sleep(1)

    def _settled(self, image_id: str, path: Path) -> Image:
        size = path.stat().st_size
        begun = time.monotonic()
        while True:
            image = self.get(image_id)
            if image is None:
                raise PublishError(f"image {image_id} vanished after its upload")
            if image.status == "active":
                break
            # Glance had all of it before it answered: "queued" is a store that takes its time, or
            # an answer that was not Glance's.
            waited = time.monotonic() - begun
            patience = {"queued": ARRIVAL_TIMEOUT, "saving": ACTIVATION_TIMEOUT}
            if waited > patience.get(image.status, 0.0):
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
        self._write(
            f"tag image {image_id} with {tag}",
            lambda: self._client.image_tags.update(image_id, tag),
        )

    def untag(self, image_id: str, tag: str) -> None:
        """Remove one tag; a tag or image that is not there is no error."""
        try:
            self._write(
                f"remove tag {tag} from image {image_id}",
                lambda: self._client.image_tags.delete(image_id, tag),
            )
        except MissingImageError:
            pass

    def update(self, image_id: str, changes: Mapping[str, Any]) -> None:
        """Set attributes or properties of an image; those whose value is None are removed."""
        kept = {key: value for key, value in changes.items() if value is not None}
        removed = [key for key, value in changes.items() if value is None]

        def permitted() -> None:
            require_write_permit()
            # The client sends what differs from what it has just read: a second time, nothing.
            after = self._client.images.update(image_id, remove_props=removed, **kept)
            lost = [key for key in kept if after.get(key) != kept[key]]
            lost += [key for key in removed if key in after]
            if lost:
                raise ValueError(f"{', '.join(lost)} did not change")

        self._ask(f"update image {image_id}", permitted, failure=PublishError)

    def delete(self, image_id: str) -> Removal:
        """Try to delete an image, and say how it went; refusals are answers, not errors."""
        try:
            self._write(f"delete image {image_id}", lambda: self._client.images.delete(image_id))
        except MissingImageError:
            return Removal.GONE
        except PublishError as error:
            if isinstance(error.__cause__, glance_exc.HTTPConflict):
                return Removal.IN_USE
            if isinstance(error.__cause__, glance_exc.HTTPForbidden):
                return Removal.REFUSED
            raise
        return Removal.DELETED

    def _ask(
        self, action: str, request: Callable[[], T], *, failure: type[RetrofitError] = CloudError
    ) -> T:
        with translated(action, failure=failure):
            return self._requests.make(request, action)

    def _write(self, action: str, request: Callable[[], object]) -> None:
        """Change what may be changed twice, and is answered by 204.

        A lock may be lost between two attempts.
        """

        def permitted() -> None:
            require_write_permit()
            request()
            self._requests.require_status(NO_CONTENT)

        self._ask(action, permitted, failure=PublishError)
