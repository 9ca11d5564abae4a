"""Read Glance and Octavia for the audit of a target; nothing is changed."""

from __future__ import annotations

from dataclasses import replace

from retrofit.cloud import Glance
from retrofit.cloud.octavia import fleet, mismatches
from retrofit.cloud.octavia_conf import Wanted, wanted_by_octavia
from retrofit.config import Settings, Target
from retrofit.errors import CloudError
from retrofit.fleet.failover import FleetObservation
from retrofit.model import Fleet, Usage
from retrofit.observe.control_plane import observe_control_plane
from retrofit.observe.freshness import freshness_of
from retrofit.observe.target import take_inventory
from retrofit.plan import Identity, promoted_image
from retrofit.runs.machine import this_machine


def observe_fleet(
    target: Target, settings: Settings, *, ask_archive: bool = False
) -> tuple[FleetObservation, CloudError | None]:
    """Read all that an audit wants, and the error where Octavia must answer and does not.

    With `ask_archive`, the package archive is asked which fixes the images lack that amphorae run
    on, and which the promoted one lacks: those no failover brings. Raises CloudError where Glance
    does not answer.
    """
    glance = Glance.connect(target.cloud)
    inventory = take_inventory(target, glance, this_machine(settings))
    failed = None
    try:
        running = fleet(target)
    except CloudError as error:
        failed, running = error, Fleet(usage=Usage(unknown=error.message))
    images = {image.id: image for image in inventory.images}
    used = {each.image_id for each in running.usage.amphorae if each.image_id is not None}
    for image_id in sorted(used - images.keys()):
        image = glance.get(image_id)
        if image is not None:
            images[image_id] = image
    wanted = wanted_by_octavia(target)
    observed = FleetObservation(
        where=glance.where,
        inventory=inventory,
        identities=tuple(Identity.of(each, glance.project_id) for each in settings.targets),
        fleet=running,
        images=images,
        owner=wanted.owner if isinstance(wanted, Wanted) else None,
        control_plane=observe_control_plane(target),
    )
    promoted = promoted_image(inventory, target)
    if ask_archive and target.freshness.check:
        wanted_ids = used if promoted is None else used | {promoted.id}
        ours = [image for image in inventory.ours(target) if image.id in wanted_ids]
        seen = {
            image.id: freshness_of(image, target, settings, glance, inventory.now) for image in ours
        }
        observed = replace(observed, freshness=seen)
    others = {each.name for each in settings.targets} - {target.name}
    found = mismatches(
        target,
        project_id=glance.project_id,
        promoted=promoted,
        # What starts from another target's image is no sign that Octavia looks for a wrong tag.
        usage=replace(
            running.usage,
            amphorae=tuple(
                each for each in running.usage.amphorae if not observed.is_of(each.image_id, others)
            ),
        ),
    )
    return replace(observed, mismatches=tuple(found)), failed
