"""What an amphora image says of itself in Glance; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from retrofit import __version__
from retrofit.config import Target
from retrofit.model import BuiltImage, Source, Verdict
from retrofit.trust import Trust


def image_attributes(
    target: Target,
    source: Source,
    built: BuiltImage,
    verdict: Verdict,
    *,
    source_hashes: Mapping[str, str],
    source_trust: Trust,
    recipe: str,
    run_id: str,
    host: str,
) -> dict[str, Any]:
    """Return everything to create the Glance record with, so that no record is ever anonymous.

    The tag is not among it: an image is promoted when it is active and whole. `source_product_name`
    and `source_version_name` are what the octavia-diskimage-retrofit charm looks for. `content_id`
    is left out on purpose: the synchroniser would rotate the image away as one of its own.
    """
    properties = {
        "architecture": source.architecture,
        "os_type": "linux",
        "os_distro": source.os_distro,
        "os_version": source.os_version,
        "source_product_name": source.product,
        "source_version_name": source.version,
        "retrofit_target": target.name,
        "retrofit_run_id": run_id,
        "retrofit_host": host,
        "retrofit_version": __version__,
        "retrofit_recipe": recipe,
        "retrofit_source_id": source.id,
        **recorded_hashes(source, source_hashes),
        "retrofit_source_trust": str(source_trust),
        "retrofit_image_hash": f"sha512:{built.sha512}",
        "retrofit_verified_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "retrofit_verification": verdict.how,
        **verdict.facts,
    }
    return {
        "name": image_name(source),
        "disk_format": built.disk_format,
        "container_format": "bare",
        "visibility": target.publish.visibility,
        "min_disk": built.min_disk,
        **target.publish.properties,
        **properties,
    }


def recorded_hashes(source: Source, hashes: Mapping[str, str]) -> dict[str, str]:
    """Return what says which bytes an image was made from, `hashes` being those of the download.

    Glance knows the first, mirrors know the second: whichever the next source comes from, it can
    be told to be the same without a download.
    """
    in_glance = source.image is not None
    return {
        "retrofit_source_hash": source.content_hash if in_glance else f"sha512:{hashes['sha512']}",
        "retrofit_source_sha256": hashes["sha256"],
    }


def image_name(source: Source) -> str:
    """Name an amphora image as the field already does (the charm's form)."""
    return (
        f"amphora-haproxy-{source.architecture}-{source.os_distro}-{source.os_version}"
        f"-{source.version}"
    )
