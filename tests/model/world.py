"""A world for tests: images and their bytes, amphorae, and a clock that anybody may set."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from retrofit.cloud.image import STANDARD_KEYS
from retrofit.model import Amphora, Image, Usage
from retrofit.plan import octavia_order
from tests.unit.images import OWN


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A virtual machine of Octavia's: its API tells `image_id` only once it is up."""

    id: str
    image_id: str
    created_at: datetime
    up: bool


class World:
    """Images, their bytes, amphorae and the time, for us and for everybody else."""

    def __init__(self, seed: int = 0) -> None:
        self.now = datetime(2026, 11, 1, tzinfo=UTC)
        self._set_back = timedelta()
        self.images: dict[str, Image] = {}
        self.content: dict[str, bytes] = {}
        self.machines: dict[str, Machine] = {}
        self.octavia_answers = True
        self.in_use_in_store: set[str] = set()
        self._random = random.Random(seed)  # noqa: S311  (not for secrets)
        self._made = 0

    def new_id(self) -> str:
        """Ids whose order says nothing about age."""
        self._made += 1
        return hashlib.sha256(str(self._made).encode()).hexdigest()[:8]

    def add(self, content: bytes | None = None, **fields: Any) -> Image:
        """Register an image as of now; Glance counts whole seconds."""
        number = fields.get("id") or self.new_id()
        known = {
            "id": number,
            "name": number,
            "status": "queued",
            "owner": OWN,
            "created_at": self.now.replace(microsecond=0),
        }
        image = Image(**{**known, **fields})
        self.images[image.id] = image
        if content is not None:
            self.fill(image.id, content)
        return self.images[image.id]

    def fill(self, image_id: str, content: bytes) -> None:
        """Give an image its bytes."""
        self.content[image_id] = content
        self.images[image_id] = replace(
            self.images[image_id],
            status="active",
            size=len(content),
            hash_algo="sha512",
            hash_value=hashlib.sha512(content).hexdigest(),
        )

    def change(self, image_id: str, **fields: Any) -> None:
        """Change attributes of an image."""
        self.images[image_id] = replace(self.images[image_id], **fields)

    def matching(self, filters: Mapping[str, Any]) -> list[Image]:
        """Return the images that match all filters, in no order."""
        found = [image for image in self.images.values() if _matches(image, filters)]
        self._random.shuffle(found)
        return found

    def eligible(self, tag: str, owner: str | None = OWN) -> list[Image]:
        """Return what Octavia could take, what it does take first."""
        filters: dict[str, Any] = {"tag": [tag], "status": "active", "os_hidden": False}
        if owner:
            filters["owner"] = owner
        return sorted(self.matching(filters), key=octavia_order, reverse=True)

    def usage(self) -> Usage:
        """Answer as Octavia's API does."""
        if not self.octavia_answers:
            return Usage(unknown="Octavia cannot be asked")
        return Usage(
            amphorae=tuple(
                Amphora(
                    id=machine.id,
                    status="ALLOCATED" if machine.up else "BOOTING",
                    created_at=machine.created_at,
                    image_id=machine.image_id if machine.up else None,
                )
                for machine in self.machines.values()
            )
        )

    @property
    def time(self) -> datetime:
        """What the clock would show had nobody ever set it back."""
        return self.now + self._set_back

    def pass_time(self, **amount: float) -> None:
        """Let the clock jump; what was booting before a jump is up after it."""
        self.now += timedelta(**amount)
        self._set_back += max(timedelta(), -timedelta(**amount))
        if abs(timedelta(**amount)) > timedelta(minutes=9):
            self.machines = {key: replace(m, up=True) for key, m in self.machines.items()}


def _matches(image: Image, filters: Mapping[str, Any]) -> bool:
    for key, wanted in filters.items():
        if key == "tag":
            if not set(wanted) <= image.tags:
                return False
        elif key == "os_hidden":
            if image.hidden != wanted:
                return False
        elif key in STANDARD_KEYS:
            if getattr(image, key) != wanted:
                return False
        elif image.property(key) != wanted:
            return False
    return True
