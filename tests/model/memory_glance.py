"""A Glance in memory, with a world around it that others change between any two of our calls.

It stands in for `retrofit.cloud.Glance` in property tests, where thousands of interleavings are
tried. What it does is what Glance was measured to do (tests/model/test_memory_glance.py holds both
side by side); where Glance leaves a choice, it is the nastier one: we see every tenant's images and
may change them, as an administrator could, listings come in any order, and images that were not
hidden and those that were are listed in two requests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from retrofit.cloud import Removal
from retrofit.cloud.clock import Clock
from retrofit.cloud.errors import MissingImageError
from retrofit.cloud.glance import Quota
from retrofit.cloud.image import STANDARD_KEYS
from retrofit.cloud.presence import Reading
from retrofit.errors import CloudError, PublishError, SourceVanishedError
from retrofit.model import Image
from retrofit.system.digests import Digests, digest_of_ends
from retrofit.system.progress import Progress, silent
from tests.model.world import World
from tests.unit.images import OWN

T = TypeVar("T")


class KilledError(BaseException):
    """The process is dead: nothing of it talks to Glance any more."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong at one of our calls, counted from 0.

    `killed` and `interrupted` happen before the call, the `..., after it` when it was done; with
    `answer lost` Glance did what it was asked and nobody learns it, with `outage` it does nothing
    from here on.
    """

    at: int
    kind: str

    KINDS = (
        "killed", "killed, after it", "interrupted", "interrupted, after it", "answer lost",
        "outage",
    )  # fmt: skip


class MemoryGlance:
    """The public face of `retrofit.cloud.Glance`, as one process of ours sees it.

    `others` act before the call whose number they are told; `checker` sees every change of ours,
    and every look at one image, as (what, image before, image after), when it has just happened.
    """

    def __init__(
        self,
        world: World,
        *,
        others: Callable[[int], None] = lambda _: None,
        checker: Callable[[str, Image | None, Image | None], None] = lambda *_: None,
        fault: Fault | None = None,
        refuses_data: bool = False,
    ) -> None:
        self.project_id = OWN
        self.where = "memory"
        self.region: str | None = None
        self.calls = 0
        self._world = world
        self._others = others
        self._checker = checker
        self._fault = fault
        self._refuses_data = refuses_data
        self._dead = self._down = False

    def clock(self) -> Clock:
        """Glance's clock; a look at the last answer, and no call."""
        return Clock(now=self._world.now)

    def list(self, filters: Mapping[str, Any], *, hidden: bool | None = None) -> list[Image]:
        found: dict[str, Image] = {}
        for hide in (False, True) if hidden is None else (hidden,):
            wanted = {**filters, "os_hidden": hide}
            for image in self._call(lambda wanted=wanted: self._world.matching(wanted)):  # type: ignore[misc]
                found[image.id] = image
        return [*found.values()]

    def get(self, image_id: str) -> Image | None:
        image = self._call(lambda: self._world.images.get(image_id))
        self._checker("look at", image, image)
        return image

    def octavia_image(self, tag: str, owner: str | None = None) -> Image | None:
        return self._call(lambda: next(iter(self._world.eligible(tag, owner)), None))

    def download(self, image: Image, path: Path, progress: Progress = silent) -> Digests:
        def read() -> bytes:
            if image.id not in self._world.images:
                raise SourceVanishedError(f"source image {image.id} vanished")
            return self._world.content[image.id]

        content = self._call(read)
        path.write_bytes(content)
        digests = Digests()
        digests.update(content)
        return digests

    def read_ends(self, image: Image) -> Reading:
        return self._call(
            lambda: self._reading(image, lambda content: digest_of_ends(content, content))
        )

    def read_whole(self, image: Image, algorithm: str) -> Reading:
        return self._call(
            lambda: self._reading(
                image, lambda content: f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
            )
        )

    def _reading(self, image: Image, digest: Callable[[bytes], str]) -> Reading:
        content = self._world.content.get(image.id)
        if image.id not in self._world.images or not content:
            return Reading(missing="the store has no data of it")
        return Reading(digest=digest(content))

    def create(self, attributes: Mapping[str, Any]) -> Image:
        standard = {
            {"os_hidden": "hidden"}.get(key, key): value
            for key, value in attributes.items()
            if key in STANDARD_KEYS and key != "container_format"
        }
        properties = {key: value for key, value in attributes.items() if key not in STANDARD_KEYS}
        assert all(isinstance(value, str) for value in properties.values())
        return self._change("create", lambda: self._world.add(**standard, properties=properties))

    def upload(self, image: Image, path: Path, progress: Progress = silent) -> Image:
        content = path.read_bytes()

        def begin() -> Image:
            self._existing(image.id, "upload")
            self._world.change(image.id, status="saving")
            return self._world.images[image.id]

        def end() -> Image:
            self._existing(image.id, "upload")
            if self._refuses_data:
                raise PublishError(f"cannot upload image {image.id}: quota exceeded")
            self._world.fill(image.id, content)
            return self._world.images[image.id]

        self._change("begin upload", begin, image.id)
        return self._change("end upload", end, image.id)

    def quotas(self) -> dict[str, Quota]:
        return self._call(dict)

    def tag(self, image_id: str, tag: str) -> None:
        def act() -> Image:
            image = self._existing(image_id, "tag")
            self._world.change(image_id, tags=image.tags | {tag})
            return self._world.images[image_id]

        self._change("tag", act, image_id)

    def untag(self, image_id: str, tag: str) -> None:
        def act() -> Image | None:
            if image_id in self._world.images:
                tags = self._world.images[image_id].tags - {tag}
                self._world.change(image_id, tags=tags)
            return self._world.images.get(image_id)

        self._change("untag", act, image_id)

    def update(self, image_id: str, changes: Mapping[str, Any]) -> None:
        def act() -> Image:
            image = self._existing(image_id, "update")
            properties = dict(image.properties)
            for key, value in changes.items():
                if key == "os_hidden":
                    self._world.change(image_id, hidden=bool(value))
                elif value is None:
                    properties.pop(key, None)
                else:
                    assert key not in STANDARD_KEYS
                    assert isinstance(value, str)
                    properties[key] = value
            self._world.change(image_id, properties=properties)
            return self._world.images[image_id]

        self._change("update", act, image_id)

    def delete(self, image_id: str) -> Removal:
        answer = Removal.GONE

        def act() -> None:
            nonlocal answer
            image = self._world.images.get(image_id)
            if image is None:
                answer = Removal.GONE
            elif image.protected:
                answer = Removal.REFUSED
            elif image_id in self._world.in_use_in_store:
                answer = Removal.IN_USE
            else:
                answer = Removal.DELETED
                del self._world.images[image_id]

        self._change("delete", act, image_id)
        return answer

    def _existing(self, image_id: str, action: str) -> Image:
        if image_id not in self._world.images:
            raise MissingImageError(f"cannot {action} image {image_id}: there is no such image")
        return self._world.images[image_id]

    def _change(self, what: str, act: Callable[[], T], image_id: str | None = None) -> T:
        def watched() -> T:
            before = self._world.images.get(image_id) if image_id else None
            result = act()
            after = result if isinstance(result, Image) else self._world.images.get(image_id or "")
            if after != before:
                self._checker(what, before, after)
            return result

        return self._call(watched)

    def _call(self, act: Callable[[], T]) -> T:
        """Make one request, with everything that may happen around it."""
        if self._dead:
            raise KilledError
        number, self.calls = self.calls, self.calls + 1
        self._world.now += timedelta(milliseconds=300)
        self._others(number)
        kind = self._fault.kind if self._fault is not None and self._fault.at == number else ""
        if kind == "outage":
            self._down = True
        if self._down:
            raise _passing("cannot do it: connection refused")
        if not kind or "after" in kind or kind == "answer lost":
            result = act()
            if not kind:
                return result
        if kind.startswith("killed"):
            self._dead = True
            raise KilledError
        if kind.startswith("interrupted"):
            raise KeyboardInterrupt
        raise _passing("cannot learn how it went: connection reset")


def _passing(message: str) -> CloudError:
    """Make the error of a request that has been repeated in vain already, or must not be."""
    error = CloudError(message)
    error.passing = True
    return error
