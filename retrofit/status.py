"""How a target stands: what Octavia takes, and how the last run ended."""

from __future__ import annotations

from typing import Any

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.model import Image
from retrofit.plan import Inventory, promoted_image, warnings
from retrofit.run_logs import reports
from retrofit.survey import take_inventory


def target_status(target: Target, settings: Settings) -> dict[str, Any]:
    """Return a target's standing as JSON types."""
    glance = Glance.connect(target.cloud)
    inventory = take_inventory(target, glance)
    promoted = promoted_image(inventory, target)
    taken = glance.octavia_takes(target.publish.tag)
    last = next((run for run in reports(settings.paths.logs) if run["target"] == target.name), None)
    return {
        "target": target.name,
        "cloud": glance.where,
        "project_id": glance.project_id,
        "tag": target.publish.tag,
        "promoted": None if promoted is None else image_as_dict(promoted, inventory, target),
        "octavia_takes": None if taken is None else taken.id,
        "images": len(inventory.ours(target.name)),
        "warnings": warnings(inventory, target),
        "last_run": last,
    }


def image_as_dict(image: Image, inventory: Inventory, target: Target) -> dict[str, Any]:
    """Return what an operator asks of an amphora image, as JSON types; sizes in bytes."""
    promoted = promoted_image(inventory, target)
    age = inventory.now - image.created_at
    return {
        "id": image.id,
        "name": image.name,
        "target": target.name,
        "status": image.status,
        "promoted": promoted is not None and promoted.id == image.id,
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
                "haproxy_version",
                "amphora_agent_version",
                "kernel_version",
            )
        },
    }
