"""Glance images made up for tests of pure code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from retrofit.model import Image
from retrofit.plan.identity import installation_id

OWN = "own-project"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def synced(
    version: str = "20260911",
    *,
    id: str | None = None,  # noqa: A002  (the field's name)
    release: str = "24.04",
    stream: str = "",
    variant: str = "server",
    arch: str = "amd64",
    item: str = "disk1.img",
    owner: str = OWN,
    **fields: Any,
) -> Image:
    """A source image with the properties that the synchroniser was seen to write."""
    properties = {
        "product_name": f"com.ubuntu.cloud{stream}:{variant}:{release}:{arch}",
        "version_name": version,
        "item_name": item,
        "os_distro": "ubuntu",
        "os_version": release,
        "architecture": "x86_64",
        "content_id": "auto.sync",
        **fields.pop("properties", {}),
    }
    return Image(
        **{
            "id": id or f"source-{release}-{version}-{item}",
            "name": f"auto-sync/ubuntu-{release}-{version}-{item}",
            "status": "active",
            "owner": owner,
            "created_at": NOW - timedelta(days=1),
            "disk_format": "qcow2",
            "size": 1000,
            "hash_algo": "sha512",
            "hash_value": f"hash-of-{version}",
            "properties": {key: value for key, value in properties.items() if value is not None},
            **fields,
        }
    )


def amphora(
    number: int,
    *,
    version: str = "20260911",
    recipe: str = "sha256:recipe",
    tagged: bool = False,
    promoted_before: bool | None = None,
    target: str = "default",
    tag: str = "octavia-amphora",
    age_hours: float | None = None,
    owner: str = OWN,
    **fields: Any,
) -> Image:
    """An amphora image as a run of ours leaves it; a higher number was created later."""
    marked = tagged if promoted_before is None else promoted_before
    number_id = fields.get("id", f"amphora-{number:04}")
    properties = {
        "retrofit_image_id": number_id,
        "retrofit_installation": installation_id(owner, tag),
        "retrofit_target": target,
        "retrofit_tag": tag,
        "retrofit_state_id": "this-state",
        "retrofit_run_id": f"run-{number}",
        "retrofit_recipe": recipe,
        "retrofit_source_hash": f"sha512:hash-of-{version}",
        "retrofit_image_hash": f"sha512:image-{number}",
        "retrofit_host": "this-host",
        "retrofit_source_trust": "digest",
        "retrofit_verification": "full-kvm",
        "source_product_name": "com.ubuntu.cloud:server:24.04:amd64",
        "source_version_name": version,
        **({"retrofit_promoted_at": "2026-11-01T00:00:00+00:00"} if marked else {}),
        **fields.pop("properties", {}),
    }
    hours = 1000 - number if age_hours is None else age_hours
    return Image(
        **{
            "id": f"amphora-{number:04}",
            "name": f"amphora-haproxy-{number}",
            "status": "active",
            "owner": owner,
            "created_at": NOW - timedelta(hours=hours),
            "size": 2000,
            "hash_algo": "sha512",
            "hash_value": f"image-{number}",
            "tags": frozenset({tag} if tagged else ()),
            "properties": {key: text for key, text in properties.items() if text is not None},
            **fields,
        }
    )


def charm_image(
    number: int,
    *,
    version: str = "20260911",
    tagged: bool = True,
    arch: str = "amd64",
    owner: str = OWN,
) -> Image:
    """An amphora image as the octavia-diskimage-retrofit charm leaves it."""
    return Image(
        id=f"charm-{number}",
        name=f"amphora-haproxy-x86_64-ubuntu-24.04-{version}",
        status="active",
        owner=owner,
        created_at=NOW - timedelta(hours=1000 - number),
        size=2000,
        hash_algo="sha512",
        hash_value=f"charm-{number}",
        tags=frozenset({"octavia-diskimage-retrofit", *(["octavia-amphora"] if tagged else [])}),
        properties={
            "source_product_name": f"com.ubuntu.cloud:server:24.04:{arch}",
            "source_version_name": version,
        },
    )
