"""The audit of a target: images, what runs on them, what to fail over; pure."""

from __future__ import annotations

from collections.abc import Iterable

from retrofit.config import Target
from retrofit.control_plane.agents import Feature
from retrofit.control_plane.language import KIND
from retrofit.fleet.document import (
    AuditDocument,
    AuditedImageDocument,
    BreakDocument,
    FailoverDocument,
    OctaviaDocument,
    OtherTargetDocument,
    PassedOverDocument,
    SelectionDocument,
    UnattachedDocument,
)
from retrofit.fleet.failover import (
    LONG_AGO,
    FleetObservation,
    Stale,
    broken_kinds,
    lacking,
    stale_load_balancers,
)
from retrofit.model import Fleet, Image
from retrofit.plan import is_eligible, octavia_order, own_tags, promoted_image, warnings


def audit(
    target: Target, observed: FleetObservation, *, configured: Iterable[Target]
) -> AuditDocument:
    """Return what runs on what; parts that Octavia does not show are None.

    `configured` are all targets: load balancers on an image of another one are counted apart.
    """
    targets = tuple(configured)
    others = frozenset(each.name for each in targets) - {target.name}
    usage = observed.fleet.usage
    promoted = promoted_image(observed.inventory, target)
    asked = usage.unknown is None
    stale = (
        stale_load_balancers(observed, promoted, others=others)
        if asked and promoted is not None
        else []
    )
    found = [*warnings(observed.inventory, target), *observed.mismatches]
    found += _flavor_warnings(observed.fleet, targets)
    if asked and promoted is None and usage.amphorae:
        found.append("no image of this target is promoted: there is nothing to fail over to")
    return AuditDocument(
        target=target.name,
        cloud=observed.where,
        project_id=observed.inventory.own_project,
        tag=target.publish.tag,
        promoted=None if promoted is None else promoted.id,
        octavia_image=_selection(target, observed),
        octavia=OctaviaDocument(
            answers=asked,
            reason=usage.unknown,
            amphorae=len(usage.amphorae) if asked else None,
            load_balancers=len(observed.fleet.load_balancers) if asked else None,
            booting=sum(each.image_id is None for each in usage.amphorae) if asked else None,
            release=None if observed.control_plane is None else str(observed.control_plane),
        ),
        images=tuple(_images(target, observed, promoted, others)),
        other_targets=tuple(_other_targets(observed, others)) if asked else None,
        failover=tuple(_failover(each, observed) for each in stale) if asked else None,
        breaks=tuple(_breaks(observed, promoted)) if asked and promoted is not None else None,
        without_load_balancer=tuple(_unattached(observed)) if asked else None,
        warnings=tuple(found),
    )


def _selection(target: Target, observed: FleetObservation) -> SelectionDocument:
    """Return the image that Octavia selects for its next amphora, and why not another."""
    tag, owner = target.publish.tag, observed.owner
    tagged = sorted(
        (image for image in observed.inventory.images if tag in image.tags),
        key=octavia_order,
        reverse=True,
    )
    able = [image for image in tagged if is_eligible(image, tag) and owner in {None, image.owner}]
    winner = able[0] if able else None
    whose = "" if owner is None else f" of project {owner}"
    return SelectionDocument(
        image_id=winner.id if winner else None,
        name=winner.name if winner else None,
        why=f"no active, visible image{whose} carries the tag {tag}"
        if winner is None
        else f"the only active, visible image{whose} with the tag {tag}"
        if len(able) == 1
        else f"created last of the {len(able)} active, visible images{whose} with the tag {tag}",
        passed_over=tuple(
            PassedOverDocument(image_id=image.id, reason=_why_not(image, owner, winner))
            for image in tagged
            if image is not winner
        ),
    )


def _why_not(image: Image, owner: str | None, winner: Image | None) -> str:
    if image.status != "active":
        return f"{image.status}, not active"
    if image.hidden:
        return "hidden"
    if owner not in {None, image.owner}:
        return f"of project {image.owner}, and amp_image_owner_id is {owner}"
    return f"created before {winner.id}" if winner is not None else "not selected"


def _images(
    target: Target, observed: FleetObservation, promoted: Image | None, others: frozenset[str]
) -> list[AuditedImageDocument]:
    """List our images, those with our tag, and those that amphorae run on; the newest first."""
    inventory, amphorae = observed.inventory, observed.fleet.usage.amphorae
    asked = observed.fleet.usage.unknown is None
    used = {each.image_id for each in amphorae if each.image_id is not None}
    listed = {image.id for image in inventory.ours(target)}
    listed |= {image.id for image in inventory.images if image.tags & {*own_tags(target)}}
    listed |= {image_id for image_id in used if not observed.is_of(image_id, others)}
    left_alone = {
        image.id: owned.reason
        for image, owned in inventory.look_alikes(target)
        if observed.target_of(image.id) not in others
    }
    listed |= left_alone.keys()
    rows = []
    for image_id in sorted(listed, key=lambda each: (observed.made(each), each), reverse=True):
        image = observed.images.get(image_id)
        those = [each for each in amphorae if each.image_id == image_id]
        served = {each.load_balancer_id for each in those} - {None}
        age = None if image is None else inventory.now - image.created_at
        rows.append(
            AuditedImageDocument(
                id=image_id,
                name=image.name if image else None,
                target=observed.target_of(image_id),
                remark=left_alone.get(image_id),
                owner=image.owner if image else None,
                status=image.status if image else "not shown by Glance",
                hidden=image.hidden if image else None,
                promoted=promoted is not None and image_id == promoted.id,
                created_at=image.created_at if image else None,
                age_days=None if age is None else round(age.total_seconds() / 86400, 5),
                amphorae=len(those) if asked else None,
                load_balancers=len(served) if asked else None,
                security_fixes=_security_fixes(observed, image_id),
            )
        )
    return rows


def _security_fixes(observed: FleetObservation, image_id: str) -> int | None:
    known = observed.freshness.get(image_id)
    if known is None or known.offer is None:
        return None
    return len(known.fixes)


def _other_targets(observed: FleetObservation, others: frozenset[str]) -> list[OtherTargetDocument]:
    """Count what runs on the images of other targets."""
    rows = []
    for name in sorted(others):
        those = [
            each
            for each in observed.fleet.usage.amphorae
            if observed.target_of(each.image_id) == name
        ]
        if those:
            served = {each.load_balancer_id for each in those} - {None}
            rows.append(
                OtherTargetDocument(target=name, amphorae=len(those), load_balancers=len(served))
            )
    return rows


def _failover(stale: Stale, observed: FleetObservation) -> FailoverDocument:
    load_balancer = stale.load_balancer
    age = observed.inventory.now - stale.oldest
    return FailoverDocument(
        id=load_balancer.id,
        name=load_balancer.name,
        project_id=load_balancer.project_id,
        vip_address=load_balancer.vip_address,
        provisioning_status=load_balancer.provisioning_status,
        operating_status=load_balancer.operating_status,
        images=tuple(sorted({each.image_id for each in stale.amphorae if each.image_id})),
        oldest_image_age_days=None
        if stale.oldest == LONG_AGO
        else round(age.total_seconds() / 86400, 5),
        failover=stale.failover.name.lower(),
        remark=stale.remark,
        breaks=stale.breaks,
        command=f"openstack loadbalancer failover {load_balancer.id}",
    )


def _breaks(observed: FleetObservation, promoted: Image) -> list[BreakDocument]:
    """List the load balancers that the promoted image breaks, the certain ones first."""
    rows = []
    for each in observed.fleet.load_balancers:
        sure = broken_kinds(observed, promoted, each.id)
        kinds = sure or broken_kinds(observed, promoted, each.id, certain=False)
        lacks = lacking(observed, promoted, each.id)
        if not kinds and not lacks:
            continue
        rows.append(
            BreakDocument(
                id=each.id,
                name=each.name,
                project_id=each.project_id,
                kinds=(*kinds, *(feature.kind for feature in lacks)),
                certain=bool(sure or lacks),
                why="; ".join(
                    [
                        *_refused(kinds, observed, promoted),
                        *(_lacks(feature, promoted) for feature in lacks),
                    ]
                ),
            )
        )
    return sorted(rows, key=lambda row: (not row.certain, row.name, row.id))


def _refused(kinds: tuple[str, ...], observed: FleetObservation, promoted: Image) -> Iterable[str]:
    """Yield why HAProxy of the promoted image refuses these kinds."""
    if kinds:
        words = sorted({form.words for name in kinds for form in KIND[name].forms if form.words})
        seen = " and ".join(KIND[name].seen_by for name in kinds)
        yield (
            f"it has {seen}; HAProxy {promoted.property('haproxy_version')} of the promoted image"
            f" refuses what octavia {observed.control_plane} writes for it: {'; '.join(words)}"
        )


def _lacks(feature: Feature, promoted: Image) -> str:
    agent = promoted.property("amphora_agent_version")
    return (
        f"it has {feature.seen_by}; agent {agent} of the promoted image has no {feature.name}:"
        f" {feature.without}"
    )


def _unattached(observed: FleetObservation) -> list[UnattachedDocument]:
    """List amphorae without load balancer, for whose failover Octavia answers 500."""
    return [
        UnattachedDocument(
            id=amphora.id,
            status=amphora.status,
            image_id=amphora.image_id,
            created_at=amphora.created_at,
            # Octavia deletes by request what is in ERROR, and nothing else.
            command=f"openstack loadbalancer amphora delete {amphora.id}"
            if amphora.status == "ERROR"
            else None,
        )
        for amphora in sorted(
            observed.fleet.usage.amphorae, key=lambda each: (each.created_at, each.id)
        )
        if amphora.load_balancer_id is None
    ]


def _flavor_warnings(fleet: Fleet, targets: Iterable[Target]) -> list[str]:
    kept = {tag for target in targets for tag in own_tags(target)}
    return [
        f"flavor {flavor} names the image tag {tag}, which is no target's: what it starts is"
        " not kept current"
        for flavor, tag in sorted(fleet.image_tags.items())
        if tag not in kept
    ]
