"""Read Glance, Octavia and our own records for one target, and decide; nothing is changed."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.failures import last_failure
from retrofit.model import Usage
from retrofit.octavia import usage
from retrofit.octavia_conf import mismatches
from retrofit.pausing import pause_of
from retrofit.plan import (
    CHARM_TAG,
    Inventory,
    Plan,
    plan,
    promoted_image,
    rotate,
    warnings,
)
from retrofit.supply import supply


def survey(
    target: Target,
    settings: Settings,
    glance: Glance,
    *,
    recipe: str,
    force: bool = False,
    inventory: Inventory | None = None,
) -> Plan:
    """Read everything and decide, changing nothing: this is what `retrofit plan` shows.

    An `inventory` that was taken just now is not taken again.
    """
    inventory = inventory or take_inventory(target, glance)
    supplied = supply(target, settings, glance, inventory.now)
    return plan(
        inventory,
        target,
        supplied.choice,
        recipe=recipe,
        host=socket.gethostname(),
        ask=lambda promoted: usage_where_needed(inventory, target, promoted=promoted),
        force=force,
        lock_shared=settings.lock.url is not None,
        failed=last_failure(settings.paths.state, target.name),
        pause=pause_of(inventory, target, settings.paths.state),
        warnings=(*standing_warnings(inventory, target), *supplied.warnings),
        offer=supplied.offer,
    )


def standing_warnings(inventory: Inventory, target: Target) -> list[str]:
    """Say what is wrong with how a target stands, in Glance and in Octavia's configuration."""
    promoted = promoted_image(inventory, target)
    said = mismatches(target, project_id=inventory.own_project, promoted=promoted, usage=Usage())
    return [*warnings(inventory, target), *said]


def take_inventory(target: Target, glance: Glance) -> Inventory:
    """List the target's images and all that carry its tag, hidden and unfinished ones too."""
    images = glance.list({"retrofit_target": target.name, "owner": glance.project_id})
    images += glance.list({"tag": [target.publish.tag]})
    images += glance.list({"tag": [CHARM_TAG], "owner": glance.project_id})
    unique = {image.id: image for image in images}
    return Inventory(
        images=tuple(unique.values()), own_project=glance.project_id, now=datetime.now(UTC)
    )


def usage_where_needed(inventory: Inventory, target: Target, *, promoted: str | None) -> Usage:
    """Ask Octavia what is in use, where an image would be retired were nothing in use.

    Raises CloudError where the configuration requires an answer and there is none.
    """
    unused = Usage()
    if not rotate(inventory, target, promoted=promoted, usage=unused).retire:
        return unused
    return usage(target)
