"""The stock image of a mirror in Glance as well, for whoever starts machines from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import structlog

from retrofit.cloud import Glance, Removal
from retrofit.config import Target
from retrofit.model import Image, Source, StreamItem, version_key
from retrofit.plan import UNFINISHED
from retrofit.progress import Progress
from retrofit.upload import upload

log = structlog.get_logger(__name__)


def publish_stock(
    source: Source, item: StreamItem, path: Path, target: Target, glance: Glance, progress: Progress
) -> list[str]:
    """Put the bytes at `path` into Glance as the synchroniser would, and rotate what we put there.

    Returns notes for the report. Raises CloudError and PublishError.
    """
    listed = glance.list({"retrofit_stock": target.name, "owner": glance.project_id})
    # Looked at here as well: what follows deletes, and Nova's snapshots have these properties too.
    ours = [
        image
        for image in listed
        if image.property("retrofit_stock") == target.name
        and image.owner == glance.project_id
        and not image.is_snapshot
    ]
    for image in ours:
        if image.status in UNFINISHED:  # of a dead run: its successor holds the target's lock now
            glance.delete(image.id)
    standing = [image for image in ours if image.status == "active"]
    if any(_is_copy(image, item) for image in standing):
        return []
    attributes = stock_attributes(source, item, target)
    image = upload(glance, attributes, path, progress, retries=target.cloud.retries)
    log.info("stock image published", image_id=image.id, name=image.name)
    return [f"stock image published as {image.id}", *_rotate([image, *standing], target, glance)]


def stock_attributes(source: Source, item: StreamItem, target: Target) -> dict[str, Any]:
    """Return what the synchroniser says of such an image, in its own words; pure.

    `content_id` is left out on purpose: the synchroniser would take the image for its own, and
    delete it.
    """
    metadata = dict(item.metadata)
    name = metadata.get("pubname") or f"{item.product}-{item.version}"
    return {
        "name": name if name.endswith(item.name) else f"{name}-{item.name}",
        "disk_format": source.disk_format,
        "container_format": "bare",
        "visibility": target.publish.visibility,
        "architecture": source.architecture,
        "item_name": item.name,
        "os_distro": source.os_distro,
        "os_version": source.os_version,
        "product_name": item.product,
        "version_name": item.version,
        "source_content_id": item.content_id,
        "simplestreams_metadata": json.dumps(metadata, sort_keys=True),
        "retrofit_stock": target.name,
    }


def _is_copy(image: Image, item: StreamItem) -> bool:
    said = ("product_name", "version_name", "item_name")
    same = tuple(image.property(name) for name in said) == (item.product, item.version, item.name)
    return same and image.size == item.size and image.checksum in {item.md5, None}


def _rotate(images: list[Image], target: Target, glance: Glance) -> list[str]:
    """Keep as many as there are amphora images: those that one of them may have been made from."""
    newest_first = sorted(
        images, key=lambda image: version_key(image.property("version_name") or ""), reverse=True
    )
    notes = []
    for image in newest_first[target.publish.keep :]:
        removal = glance.delete(image.id)
        if removal not in {Removal.DELETED, Removal.GONE}:
            notes.append(f"stock image {image.id} could not be deleted ({removal}): later")
    return notes
