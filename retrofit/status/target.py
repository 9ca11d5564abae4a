"""How a target stands in the cloud: what Octavia takes, and what keeps runs back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.failures import last_failure
from retrofit.model import Image
from retrofit.pausing import pause_of
from retrofit.plan import Inventory, is_set_aside, is_usable, promoted_image


def target_status(
    target: Target,
    settings: Settings,
    glance: Glance,
    inventory: Inventory,
    *,
    warnings: Iterable[str],
) -> dict[str, Any]:
    """Return how a target stands in the cloud, as JSON types."""
    promoted = promoted_image(inventory, target)
    taken = glance.octavia_takes(target.publish.tag)
    pause = pause_of(inventory, target, settings.paths.state)
    return {
        "target": target.name,
        "cloud": glance.where,
        "project_id": glance.project_id,
        "tag": target.publish.tag,
        "promoted": None if promoted is None else image_as_dict(promoted, inventory, target),
        "octavia_takes": None if taken is None else taken.id,
        "images": len(inventory.ours(target.name)),
        "warnings": list(warnings),
        "paused": None if pause is None else pause.as_dict(),
        "failing": _failing(target, settings),
    }


def _failing(target: Target, settings: Settings) -> dict[str, Any] | None:
    """Return how builds fail at present, and when the next one is tried."""
    failed = last_failure(settings.paths.state, target.name)
    if failed is None:
        return None
    return {
        "count": failed.count,
        "code": failed.code,
        "message": failed.message,
        "run_id": failed.run_id,
        "last_at": failed.last_at.isoformat(timespec="seconds"),
        "retry_at": failed.retry_at(target.build).isoformat(timespec="seconds"),
    }


def image_as_dict(image: Image, inventory: Inventory, target: Target) -> dict[str, Any]:
    """Return what an operator asks of an amphora image, as JSON types; sizes in bytes."""
    promoted = promoted_image(inventory, target)
    age = inventory.now - image.created_at
    ours = image.property("retrofit_target") == target.name
    return {
        "id": image.id,
        "name": image.name,
        "target": target.name,
        "made_by": "retrofit" if ours else "octavia-diskimage-retrofit charm",
        "status": image.status,
        "promoted": promoted is not None and promoted.id == image.id,
        "set_aside": ours and is_set_aside(image, target.publish.tag),
        "usable": ours and is_usable(image),
        "hidden": image.hidden,
        "protected": image.protected,
        "created_at": image.created_at.isoformat(timespec="seconds"),
        "age_days": round(age.total_seconds() / 86400, 1),
        "size": image.size,
        "min_disk": image.min_disk,
        "tags": sorted(image.tags),
        **{
            key: image.property(key)
            for key in (
                "source_product_name",
                "source_version_name",
                "retrofit_recipe",
                "retrofit_run_id",
                "retrofit_verified_at",
                "retrofit_verification",
                "retrofit_promoted_at",
                "retrofit_demoted_at",
                "retrofit_set_aside_at",
                "haproxy_version",
                "amphora_agent_version",
                "kernel_version",
            )
        },
    }
