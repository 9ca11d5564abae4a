"""Read Glance for one target, and decide; nothing is changed."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.model import Image
from retrofit.plan import Inventory, Plan, plan
from retrofit.source import choose_source


def survey(
    target: Target, settings: Settings, glance: Glance, *, recipe: str, force: bool = False
) -> Plan:
    """Read Glance and decide, changing nothing: this is what `retrofit plan` shows."""
    inventory = take_inventory(target, glance)
    choice = choose_source(
        _possible_sources(target, glance), target.source, own_project=glance.project_id
    )
    return plan(
        inventory,
        target,
        choice,
        recipe=recipe,
        host=socket.gethostname(),
        force=force,
        lock_shared=settings.lock.url is not None,
    )


def take_inventory(target: Target, glance: Glance) -> Inventory:
    """List the target's images and all that carry its tag, hidden and unfinished ones too."""
    images = glance.list({"retrofit_target": target.name, "owner": glance.project_id})
    images += glance.list({"tag": [target.publish.tag]})
    unique = {image.id: image for image in images}
    return Inventory(
        images=tuple(unique.values()), own_project=glance.project_id, now=datetime.now(UTC)
    )


def _possible_sources(target: Target, glance: Glance) -> list[Image]:
    if target.source.image is not None:
        image = glance.get(target.source.image)
        return [] if image is None else [image]
    # By owner, so that a tenant's thousand look-alikes are not even listed.
    owners = dict.fromkeys((glance.project_id, *target.source.owners))
    return [
        image
        for owner in owners
        for image in glance.list({"os_distro": "ubuntu", "owner": owner}, hidden=False)
    ]
