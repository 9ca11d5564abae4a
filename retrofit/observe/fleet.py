"""Read Glance and Octavia for the audit of a target; nothing is changed."""

from __future__ import annotations

from dataclasses import replace

from retrofit.cloud import Glance
from retrofit.config import Target
from retrofit.errors import CloudError
from retrofit.fleet import Census
from retrofit.model import Fleet, Usage
from retrofit.octavia import fleet, mismatches
from retrofit.octavia_conf import Wanted, wanted_by_octavia
from retrofit.plan import promoted_image
from retrofit.survey import take_inventory


def take_census(target: Target) -> tuple[Census, CloudError | None]:
    """Read all that an audit wants, and the error where Octavia must answer and does not.

    Raises CloudError where Glance does not answer.
    """
    glance = Glance.connect(target.cloud)
    inventory = take_inventory(target, glance)
    failed = None
    try:
        told = fleet(target)
    except CloudError as error:
        failed, told = error, Fleet(usage=Usage(unknown=error.message))
    images = {image.id: image for image in inventory.images}
    used = {each.image_id for each in told.usage.amphorae if each.image_id is not None}
    for image_id in sorted(used - images.keys()):
        image = glance.get(image_id)
        if image is not None:
            images[image_id] = image
    wanted = wanted_by_octavia(target)
    census = Census(
        where=glance.where,
        inventory=inventory,
        fleet=told,
        images=images,
        owner=wanted.owner if isinstance(wanted, Wanted) else None,
    )
    said = mismatches(
        target,
        project_id=glance.project_id,
        promoted=promoted_image(inventory, target),
        # What starts from another target's image is no sign that Octavia looks for a wrong tag.
        usage=replace(
            told.usage,
            amphorae=tuple(
                each
                for each in told.usage.amphorae
                if census.target_of(each.image_id) in {None, target.name}
            ),
        ),
    )
    return replace(census, mismatches=tuple(said)), failed
