"""Glance's JSON of an image as a model.Image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from retrofit.model import Image
from retrofit.times import read_time

STANDARD_KEYS = frozenset(
    {
        "checksum", "container_format", "created_at", "direct_url", "disk_format", "file", "id",
        "locations", "min_disk", "min_ram", "name", "os_hash_algo", "os_hash_value", "os_hidden",
        "owner", "protected", "schema", "self", "size", "status", "stores", "tags", "updated_at",
        "virtual_size", "visibility",
    }
)  # fmt: skip
"""Attributes of Glance's schema; every other key is an additional property."""


def holds(image: Image, path: Path) -> bool:
    """Return True if Glance's hash of an image is that of a local file."""
    if not image.hash_algo or not image.hash_value:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, image.hash_algo).hexdigest() == image.hash_value


def as_image(raw: Mapping[str, Any]) -> Image:
    """Return an image from its JSON. Raises KeyError, TypeError or ValueError for other JSON."""
    return Image(
        id=raw["id"],
        name=raw.get("name") or "",
        status=raw["status"],
        owner=raw.get("owner") or "",
        created_at=datetime.fromisoformat(raw["created_at"]),
        visibility=raw.get("visibility", "private"),
        disk_format=raw.get("disk_format"),
        size=raw.get("size"),
        virtual_size=raw.get("virtual_size"),
        min_disk=raw.get("min_disk") or 0,
        checksum=raw.get("checksum"),
        hash_algo=raw.get("os_hash_algo"),
        hash_value=raw.get("os_hash_value"),
        hidden=bool(raw.get("os_hidden")),
        protected=bool(raw.get("protected")),
        updated_at=read_time(raw.get("updated_at")),
        tags=frozenset(raw.get("tags", ())),
        properties={
            key: value
            for key, value in raw.items()
            if key not in STANDARD_KEYS and isinstance(value, str)
        },
    )
