"""The audit of a target as a document: images, what runs on them, what to fail over; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from retrofit.config import Target
from retrofit.fleet import LONG_AGO, Census, Stale, stale_load_balancers
from retrofit.model import Fleet, Image
from retrofit.plan import is_eligible, octavia_order, promoted_image, warnings


def audit(target: Target, census: Census, *, configured: Iterable[Target]) -> dict[str, Any]:
    """Return what runs on what as JSON types; what Octavia does not tell is None.

    `configured` are all targets: load balancers on an image of another one are counted apart.
    """
    targets = tuple(configured)
    others = frozenset(each.name for each in targets) - {target.name}
    usage = census.fleet.usage
    promoted = promoted_image(census.inventory, target)
    asked = usage.unknown is None
    stale = (
        stale_load_balancers(census, promoted, others=others)
        if asked and promoted is not None
        else []
    )
    said = [*warnings(census.inventory, target), *census.mismatches]
    said += _flavor_warnings(census.fleet, targets)
    if asked and promoted is None and usage.amphorae:
        said.append("no image of this target is promoted: there is nothing to fail over to")
    return {
        "target": target.name,
        "cloud": census.where,
        "project_id": census.inventory.own_project,
        "tag": target.publish.tag,
        "promoted": None if promoted is None else promoted.id,
        "octavia_takes": _taken(target, census),
        "octavia": {
            "answers": asked,
            "reason": usage.unknown,
            "amphorae": len(usage.amphorae) if asked else None,
            "load_balancers": len(census.fleet.load_balancers) if asked else None,
            "booting": sum(each.image_id is None for each in usage.amphorae) if asked else None,
        },
        "images": _images(target, census, promoted, others),
        "other_targets": _other_targets(census, others) if asked else None,
        "failover": [_stale_as_dict(each, census) for each in stale] if asked else None,
        "without_load_balancer": _unattached(census) if asked else None,
        "warnings": said,
    }


def _taken(target: Target, census: Census) -> dict[str, Any]:
    """Say which image Octavia takes for its next amphora, and why not another."""
    tag, owner = target.publish.tag, census.owner
    tagged = sorted(
        (image for image in census.inventory.images if tag in image.tags),
        key=octavia_order,
        reverse=True,
    )
    able = [image for image in tagged if is_eligible(image, tag) and owner in {None, image.owner}]
    winner = able[0] if able else None
    whose = "" if owner is None else f" of project {owner}"
    return {
        "image_id": winner and winner.id,
        "name": winner and winner.name,
        "why": f"no active, visible image{whose} carries the tag {tag}"
        if winner is None
        else f"the only active, visible image{whose} with the tag {tag}"
        if len(able) == 1
        else f"created last of the {len(able)} active, visible images{whose} with the tag {tag}",
        "passed_over": [
            {"image_id": image.id, "reason": _why_not(image, owner, winner)}
            for image in tagged
            if image is not winner
        ],
    }


def _why_not(image: Image, owner: str | None, winner: Image | None) -> str:
    if image.status != "active":
        return f"{image.status}, not active"
    if image.hidden:
        return "hidden"
    if owner not in {None, image.owner}:
        return f"of project {image.owner}, and amp_image_owner_id is {owner}"
    return f"created before {winner.id}" if winner is not None else "not taken"


def _images(
    target: Target, census: Census, promoted: Image | None, others: frozenset[str]
) -> list[dict[str, Any]]:
    """List our images, those with our tag, and those that amphorae run on; the newest first."""
    inventory, amphorae = census.inventory, census.fleet.usage.amphorae
    asked = census.fleet.usage.unknown is None
    used = {each.image_id for each in amphorae if each.image_id is not None}
    listed = {image.id for image in inventory.ours(target.name)}
    listed |= {image.id for image in inventory.images if target.publish.tag in image.tags}
    listed |= {image_id for image_id in used if census.target_of(image_id) not in others}
    rows = []
    for image_id in sorted(listed, key=lambda each: (census.made(each), each), reverse=True):
        image = census.images.get(image_id)
        those = [each for each in amphorae if each.image_id == image_id]
        served = {each.load_balancer_id for each in those} - {None}
        age = None if image is None else inventory.now - image.created_at
        rows.append(
            {
                "id": image_id,
                "name": image and image.name,
                "target": census.target_of(image_id),
                "owner": image and image.owner,
                "status": image.status if image else "not shown by Glance",
                "hidden": image and image.hidden,
                "promoted": promoted is not None and image_id == promoted.id,
                "created_at": image and image.created_at.isoformat(timespec="seconds"),
                "age_days": None if age is None else round(age.total_seconds() / 86400, 1),
                "amphorae": len(those) if asked else None,
                "load_balancers": len(served) if asked else None,
            }
        )
    return rows


def _other_targets(census: Census, others: frozenset[str]) -> list[dict[str, Any]]:
    """Count what runs on the images of other targets."""
    rows = []
    for name in sorted(others):
        those = [
            each for each in census.fleet.usage.amphorae if census.target_of(each.image_id) == name
        ]
        if those:
            served = {each.load_balancer_id for each in those} - {None}
            rows.append({"target": name, "amphorae": len(those), "load_balancers": len(served)})
    return rows


def _stale_as_dict(stale: Stale, census: Census) -> dict[str, Any]:
    load_balancer = stale.load_balancer
    age = census.inventory.now - stale.oldest
    return {
        "id": load_balancer.id,
        "name": load_balancer.name,
        "project_id": load_balancer.project_id,
        "vip_address": load_balancer.vip_address,
        "provisioning_status": load_balancer.provisioning_status,
        "operating_status": load_balancer.operating_status,
        "images": sorted({each.image_id for each in stale.amphorae if each.image_id}),
        "oldest_image_age_days": None
        if stale.oldest == LONG_AGO
        else round(age.total_seconds() / 86400, 1),
        "failover": stale.failover.name.lower(),
        "remark": stale.remark,
        "command": f"openstack loadbalancer failover {load_balancer.id}",
    }


def _unattached(census: Census) -> list[dict[str, Any]]:
    """List amphorae that serve nobody, for whose failover Octavia answers 500."""
    return [
        {
            "id": amphora.id,
            "status": amphora.status,
            "image_id": amphora.image_id,
            "created_at": amphora.created_at.isoformat(timespec="seconds"),
            # Octavia deletes by request what is in ERROR, and nothing else.
            "command": f"openstack loadbalancer amphora delete {amphora.id}"
            if amphora.status == "ERROR"
            else None,
        }
        for amphora in sorted(
            census.fleet.usage.amphorae, key=lambda each: (each.created_at, each.id)
        )
        if amphora.load_balancer_id is None
    ]


def _flavor_warnings(fleet: Fleet, targets: Iterable[Target]) -> list[str]:
    kept = {target.publish.tag for target in targets}
    return [
        f"flavor {flavor} names the image tag {tag}, which is no target's: what it starts is"
        " not kept current"
        for flavor, tag in sorted(fleet.image_tags.items())
        if tag not in kept
    ]
