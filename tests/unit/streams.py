"""Entries of a mirror made up for tests of pure code."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from retrofit.model import Image, Listing, StreamItem
from tests.unit.images import synced

BASE = "https://mirror.example.test/"
KEY = "A" * 40


def item(
    version: str = "20260911",
    *,
    release: str = "24.04",
    stream: str = "",
    variant: str = "server",
    arch: str = "amd64",
    name: str = "disk1.img",
    **fields: Any,
) -> StreamItem:
    """An item of a mirror; its bytes are those of the image that `copy_of` makes of it."""
    product = f"com.ubuntu.cloud{stream}:{variant}:{release}:{arch}"
    text = f"{product} {version} {name}".encode()
    return StreamItem(
        **{
            "product": product,
            "version": version,
            "name": name,
            "ftype": name,
            "url": f"{BASE}{version}/{name}",
            "path": f"{version}/{name}",
            "size": 1000,
            "sha256": hashlib.sha256(text).hexdigest(),
            "md5": hashlib.md5(text, usedforsecurity=False).hexdigest(),
            "metadata": {"os": "ubuntu"},
            **fields,
        }
    )


def copy_of(entry: StreamItem, **fields: Any) -> Image:
    """The image that the synchroniser makes of an item."""
    metadata = {
        "ftype": entry.ftype,
        "md5": entry.md5,
        "sha256": entry.sha256,
        "size": str(entry.size),
        "support_eol": "2029-05-31",
    }
    properties = {
        "product_name": entry.product,
        "simplestreams_metadata": json.dumps(metadata),
        **fields.pop("properties", {}),
    }
    return synced(
        entry.version,
        item=entry.name,
        properties=properties,
        **{"checksum": entry.md5, "size": entry.size, **fields},
    )


def listing(*items: StreamItem, signed_by: str | None = KEY) -> Listing:
    """What a mirror offers."""
    return Listing(where=BASE, items=items, signed_by=signed_by)
