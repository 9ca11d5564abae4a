"""Glance, the only source of truth about images."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import glanceclient
import structlog
from glanceclient import exc as glance_exc

from retrofit.cloud.arrival import LAG, has_arrived, wait_until_active
from retrofit.cloud.auth import cloud_region
from retrofit.cloud.changes import change
from retrofit.cloud.clock import Clock, compared
from retrofit.cloud.endpoint import discovered, registered
from retrofit.cloud.errors import MissingImageError, translated
from retrofit.cloud.image import as_image
from retrofit.cloud.listing import listed, newest
from retrofit.cloud.presence import Reading, read_ends, read_whole
from retrofit.cloud.requests import Requests, session_of
from retrofit.cloud.transfer import NO_CONTENT, is_recorded, receive, send
from retrofit.config import CloudSettings
from retrofit.errors import (
    CloudError,
    ConfigError,
    PublishError,
    RetrofitError,
    SourceError,
    SourceVanishedError,
)
from retrofit.lock.fence import require_write_permit
from retrofit.model import Image
from retrofit.system.digests import Digests
from retrofit.system.http_body import InterruptedTransferError
from retrofit.system.progress import Progress, silent

log = structlog.get_logger(__name__)

T = TypeVar("T")

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Form of what may be an image's id: Glance's own are UUIDs, a person may type anything."""
MAJOR = 2
"""The only version of Glance's API in use."""
PROBE = "/v2/schemas/image"
"""A request that every Glance answers, to every user."""


class Removal(StrEnum):
    """The outcome of an attempt to delete an image."""

    DELETED = "deleted"
    GONE = "already gone"
    IN_USE = "in use"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Quota:
    """A limit of a project, and how much of it is in use; -1 is no limit."""

    limit: int
    used: int


class Glance:
    """The image service of one cloud and region, as one project.

    Every request that is safe to repeat is repeated when that may help: all but the upload of
    data, which needs a new record each time (`retrofit.publish.upload`).
    """

    def __init__(
        self,
        client: Any,
        *,
        requests: Requests,
        project_id: str,
        where: str,
        region: str | None = None,
    ) -> None:
        self._client = client
        self._requests = requests
        self.project_id = project_id
        self.where = where
        self.region = region

    @classmethod
    def connect(cls, settings: CloudSettings) -> Glance:
        """Log in and find the image endpoint.

        Raises ConfigError for a cloud that is not configured, CloudError for one that cannot be
        reached, refuses the credentials, or has no image service in the region.
        """
        region = cloud_region(settings)
        asked = region.get_api_version("image") or str(MAJOR)
        if asked.partition(".")[0] != str(MAJOR):
            raise ConfigError(
                f"image_api_version of cloud {region.name} is {asked}; Glance has {MAJOR} alone",
                hint="take image_api_version out of clouds.yaml, or OS_IMAGE_API_VERSION away",
            )
        where = region.name or "the cloud of OS_AUTH_URL"
        if named := region.get_region_name("image"):
            where = f"{where} (region {named})"
        session, requests = session_of(region, settings)

        def log_in() -> tuple[str, str | None]:
            address = registered(region, session, "image")
            project_id = session.get_project_id()
            return discovered(session, address, major=MAJOR, probe=PROBE), project_id

        action = f"log in to {where}"
        with translated(action, auth_url=region.get_auth_args().get("auth_url")):
            endpoint, project_id = requests.make(log_in, action)
        if project_id is None:
            raise ConfigError(
                f"the credentials for {where} name no project",
                hint="set project_name and project_domain_name in clouds.yaml or OS_PROJECT_NAME",
            )
        # Without the client's own retries: they repeat requests of which only the answer was lost.
        client = glanceclient.Client("2", session=session, endpoint_override=endpoint)
        return cls(client, requests=requests, project_id=project_id, where=where, region=named)

    def clock(self) -> Clock:
        """Return the time by Glance's clock, which `created_at` is of."""
        there = self._requests.time_at(self._client.http_client.endpoint_override)
        return compared(there, datetime.now(UTC), server="Glance")

    def list(self, filters: Mapping[str, Any], *, hidden: bool | None = None) -> list[Image]:
        """List images that match all `filters`; `hidden` None lists hidden and other ones."""

        def ask() -> dict[str, Image]:
            found: dict[str, Image] = {}
            for hide in (False, True) if hidden is None else (hidden,):
                for raw in listed(self._client, {**filters, "os_hidden": hide}):
                    image = as_image(raw)
                    found[image.id] = image
            return found

        return [*self._ask("list images", ask).values()]

    def get(self, image_id: str) -> Image | None:
        """Return an image; None when there is none of this id.

        What is no form of an id is none: it would be part of an address.
        """
        if not ID.fullmatch(image_id):
            return None
        try:
            return self._ask(
                f"read image {image_id}", lambda: as_image(self._client.images.get(image_id))
            )
        except MissingImageError:
            return None

    def octavia_image(self, tag: str, owner: str | None = None) -> Image | None:
        """Return the image that Octavia selects, by the query of its glance_driver."""

        def ask() -> Image | None:
            filters = {"tag": [tag], "status": "active"}
            if owner:
                filters["owner"] = owner
            raw = newest(self._client, filters)
            return None if raw is None else as_image(raw)

        return self._ask(f"find the newest image tagged {tag}", ask)

    def download(self, image: Image, path: Path, progress: Progress = silent) -> Digests:
        """Write an image's bytes to `path`, and compare them with Glance's record.

        Returns their digests, computed on the way. An interrupted attempt starts over.
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
            self._require_glance(action)
            raise SourceVanishedError(
                f"{name} vanished", hint="the synchroniser may have replaced it; run again"
            ) from error
        except CloudError as error:
            if isinstance(error.__cause__, InterruptedTransferError):
                raise SourceError(error.message, hint="check the Glance store") from error
            raise
        if not is_recorded(image, received):
            raise SourceError(
                f"the bytes of {name} do not match the digest in Glance",
                hint="the store is corrupt; let the synchroniser fetch the image again",
            )
        return received

    def read_ends(self, image: Image) -> Reading:
        """Read the first and the last block of an image's bytes. Raises CloudError."""
        return self._read(
            image, lambda: read_ends(self._client, image, timeout=self._requests.timeout)
        )

    def read_whole(self, image: Image, algorithm: str) -> Reading:
        """Read all bytes of an image, and return their digest. Raises CloudError."""
        return self._read(
            image,
            lambda: read_whole(
                self._client, image, algorithm=algorithm, timeout=self._requests.timeout
            ),
        )

    def _read(self, image: Image, read: Callable[[], Reading]) -> Reading:
        """Read bytes of an image; a refusal and an early end are findings, not errors."""
        action = f"read the bytes of image {image.id}"
        try:
            with translated(action):
                return self._requests.transfer(read, action)
        except MissingImageError:
            self._require_glance(action)
            return Reading(missing="Glance does not find it")
        except CloudError as error:
            cause = error.__cause__
            if isinstance(cause, InterruptedTransferError):
                return Reading(missing=f"its bytes cannot be read to their end: {cause}")
            if isinstance(cause, (glance_exc.HTTPForbidden, glance_exc.HTTPBadRequest)):
                return Reading(unknown=error.message)
            raise

    def create(self, attributes: Mapping[str, Any]) -> Image:
        """Create an image record with all its properties; its `created_at` is fixed from now on.

        With an `id` among the attributes the request is safe to repeat: Glance accepts an id once,
        so that a conflict is our own record, of which the answer was lost.
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
        """Upload a queued image's data, and wait until it is active with exactly these bytes.

        Raises PublishError or CloudError; the record is useless then and has to be deleted. With
        `passing` set on the error, an upload to a new record may succeed.
        """
        try:
            with translated(f"upload image {image.id}", failure=PublishError):
                self._requests.once(
                    lambda: send(
                        self._client, image.id, path, progress, timeout=self._requests.timeout
                    ),
                    expect=NO_CONTENT,
                )
        except RetrofitError as error:
            if isinstance(error, MissingImageError):
                self._require_glance(f"upload image {image.id}")
            cause = error.__cause__
            # A token that expired on the way can be renewed, but the bytes have been read.
            error.passing = isinstance(cause, glance_exc.HTTPUnauthorized) or (
                isinstance(cause, Exception) and self._requests.may_pass(cause)
            )
            if not (error.passing and has_arrived(self.get, image.id)):
                raise
            log.warning("upload ended without an answer", image_id=image.id, reason=error.message)
        return wait_until_active(self.get, image.id, path)

    def quotas(self) -> dict[str, Quota]:
        """Return the project's limits and what it uses of them, by Glance's names of them.

        Empty where Glance has none, is older than this request (2022), or does not show them.
        """

        def ask() -> Any:
            try:
                _, answer = self._client.http_client.get("/v2/info/usage")
            except (glance_exc.HTTPNotFound, glance_exc.HTTPForbidden):
                return {}
            return answer["usage"]

        rows = self._ask("ask Glance for quotas", ask)
        return {
            name: Quota(limit=int(row["limit"]), used=int(row["usage"]))
            for name, row in rows.items()
            if isinstance(row, dict) and "limit" in row and "usage" in row
        }

    def tag(self, image_id: str, tag: str) -> None:
        """Add one tag, leaving all others alone, and see it in Glance's own answer.

        Raises PublishError where it is not seen within LAG seconds: nothing may be demoted then.
        """
        action = f"tag image {image_id} with {tag}"
        self._write(action, lambda: self._client.image_tags.update(*_in_address(image_id, tag)))
        deadline = time.monotonic() + LAG
        while True:
            image = self.get(image_id)
            if image is not None and tag in image.tags:
                return
            if time.monotonic() > deadline:
                tags = "" if image is None else ", ".join(sorted(image.tags)) or "none"
                found = "the image is gone" if image is None else f"the image has the tags: {tags}"
                raise PublishError(
                    f"cannot {action}: Glance took the request, but {found}",
                    hint="something in front of Glance changes addresses, or its database keeps"
                    " another form of the tag; choose a tag of letters, digits and -",
                )
            time.sleep(LAG / 20)

    def untag(self, image_id: str, tag: str) -> None:
        """Remove one tag; a tag or image that is not there is no error."""
        try:
            self._write(
                f"remove tag {tag} from image {image_id}",
                lambda: self._client.image_tags.delete(*_in_address(image_id, tag)),
            )
        except MissingImageError:
            pass

    def update(self, image_id: str, changes: Mapping[str, Any]) -> None:
        """Set attributes or properties of an image; a value of None removes one."""

        def permitted() -> None:
            require_write_permit()
            change(self._client, image_id, changes)

        self._ask(f"update image {image_id}", permitted, failure=PublishError)

    def delete(self, image_id: str) -> Removal:
        """Try to delete an image and return the outcome; a refusal is an outcome, not an error."""
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
        self,
        action: str,
        request: Callable[[], T],
        *,
        failure: type[RetrofitError] = CloudError,
        expect: int | None = None,
    ) -> T:
        try:
            with translated(action, failure=failure):
                return self._requests.make(request, action, expect=expect)
        except MissingImageError:
            self._require_glance(action)
            raise

    def _require_glance(self, action: str) -> None:
        """Raise CloudError where not even Glance's schema is found.

        An ingress without a backend answers 404 to everything, as does any service at a wrong URL.
        """

        def ask() -> bool:
            try:
                _, schema = self._client.http_client.get(PROBE)
            except glance_exc.HTTPNotFound:
                return False
            return isinstance(schema, dict) and "properties" in schema

        with translated(action):
            is_glance = self._requests.make(ask, "find Glance")
        if not is_glance:
            raise CloudError(
                f"cannot {action}: {self._client.http_client.endpoint_override} is not a Glance API"
                f" (404 for {PROBE})",
                hint="check the address in `openstack catalog show image`, or"
                " image_endpoint_override in clouds.yaml, and the proxy before Glance",
            )

    def _write(self, action: str, request: Callable[[], object]) -> None:
        """Make a change that is safe to repeat and is answered by 204.

        The write permit is required before each attempt: a lock may be lost between two.
        """

        def permitted() -> None:
            require_write_permit()
            request()

        self._ask(action, permitted, failure=PublishError, expect=NO_CONTENT)


def _in_address(image_id: str, tag: str) -> tuple[str, str]:
    """Return both as parts of an address: the client puts them into one as they are."""
    return quote(image_id, safe=""), quote(tag, safe="")
