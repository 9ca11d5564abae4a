"""Read Glance, Octavia and our own records for one target; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from retrofit.cloud import Glance
from retrofit.cloud.octavia import usage
from retrofit.cloud.octavia_conf import mismatches
from retrofit.cloud.octavia_errors import OctaviaError
from retrofit.config import Settings, Target
from retrofit.model import Image, Usage
from retrofit.observe.certificates import observe_certificates
from retrofit.observe.control_plane import observe_control_plane
from retrofit.observe.freshness import observe_freshness, recorded_freshness
from retrofit.observe.presence import observe_bytes
from retrofit.observe.sources import observe_sources
from retrofit.plan import (
    CHARM_TAG,
    Facts,
    Identity,
    Inventory,
    Machine,
    needs_usage,
    promoted_image,
    retires_unless_used,
    wants_build,
    warnings,
)
from retrofit.plan.identity import INSTALLATION, RUN_ID, TARGET, is_of_0_1
from retrofit.plan.inventory import newest_first
from retrofit.plan.neighbours import other_installations_in_project
from retrofit.plan.presence import with_presence
from retrofit.runs.failures import last_failure
from retrofit.runs.machine import this_machine
from retrofit.runs.pauses import standing_pause

SOURCE_OF_0_1 = "retrofit_stock"
"""Property of a source image that 0.1.0 published: the target."""


def observe_target(
    target: Target,
    settings: Settings,
    glance: Glance,
    *,
    recipe: str,
    force: bool = False,
    inventory: Inventory | None = None,
    for_run: bool = False,
    ask_archive: bool = False,
) -> Facts:
    """Read everything that a plan is made from.

    An `inventory` that was taken just now is not taken again. The first and last block of the
    promoted image are read. `for_run` is for a run, which may read all of it, asks for Octavia's
    release only where it builds, and what it runs later, at the retirement; else Octavia is asked
    where its answer matters for what is shown. A run asks the package archive, as does
    `ask_archive`; else its last answer counts. Raises
    CloudError where Glance does not answer.
    """
    inventory = inventory or take_inventory(target, glance, this_machine(settings))
    presence = None
    promoted = promoted_image(inventory, target)
    if promoted is not None:
        presence = observe_bytes(promoted, target, glance, inventory.now, may_read_whole=for_run)
        inventory = with_presence(inventory, presence)
    freshness = None
    if promoted is not None and target.freshness.check:
        if for_run or ask_archive:
            freshness = observe_freshness(promoted, target, settings, glance, inventory.now)
        else:
            freshness = recorded_freshness(promoted, target, settings)
    sources = observe_sources(target, settings, glance, inventory.now)
    paused = standing_pause(inventory, target, settings.paths.state)
    facts = Facts(
        inventory=inventory,
        choice=sources.choice,
        mirror=sources.mirror,
        recipe=recipe,
        failed=last_failure(settings.paths.state, target.name),
        pause=paused.pause,
        warnings=(
            *paused.warnings(target.name),
            *target_warnings(inventory, target),
            *(presence.warnings() if presence else ()),
            *sources.warnings,
        ),
        presence=presence,
        freshness=freshness,
        force=force,
        clock=datetime.now(UTC),
    )
    if not for_run or wants_build(facts, target):
        facts = replace(
            facts,
            control_plane=observe_control_plane(target),
            certificates=observe_certificates(target),
        )
    if for_run or not needs_usage(facts, target):
        return facts
    return replace(facts, usage=_usage_or_reason(target))


def target_warnings(inventory: Inventory, target: Target) -> list[str]:
    """Return what is wrong with a target, in Glance and in Octavia's configuration."""
    promoted = promoted_image(inventory, target)
    found = mismatches(target, project_id=inventory.own_project, promoted=promoted, usage=Usage())
    clock = [inventory.clock_warning] if inventory.clock_warning else []
    return [*clock, *warnings(inventory, target), *found]


def take_inventory(target: Target, glance: Glance, machine: Machine | None = None) -> Inventory:
    """List the images of a target and installation, and all that carry one of its tags.

    Hidden and unfinished ones too, by present and former names. `machine` is what the lock excludes
    (None: all other runs).
    """
    own, identity = glance.project_id, Identity.of(target, glance.project_id)
    images = [
        *(each for name in identity.targets for each in glance.list({TARGET: name, "owner": own})),
        *(
            each
            for id_ in identity.installations
            for each in glance.list({INSTALLATION: id_, "owner": own})
        ),
        *(each for tag in identity.tags for each in glance.list({"tag": [tag]})),
        *glance.list({"tag": [CHARM_TAG], "owner": own}),
    ]
    # Images of 0.1.0 do not name themselves; which one is a copy is known by the others of its run,
    # and those may be of another target by now.
    runs = {
        image.property(RUN_ID)
        for image in images
        if is_of_0_1(image) and image.property(TARGET) in identity.targets and image.owner == own
    }
    for run_id in sorted(filter(None, runs)):
        images += glance.list({RUN_ID: run_id, "owner": own})
    unique = {image.id: image for image in images}
    clock = glance.clock()
    return Inventory(
        images=tuple(unique.values()),
        own_project=own,
        now=clock.now,
        clock_warning=clock.warning,
        machine=machine or Machine(),
    )


def neighbours(glance: Glance, configured: Iterable[Target]) -> list[str]:
    """Return warnings of other installations in the project, whatever their targets are called.

    `configured` are all targets of this cloud. All images of the project are listed for that, which
    is for `retrofit plan` alone.
    """
    images = glance.list({"owner": glance.project_id, "os_type": "linux"})
    return other_installations_in_project(images, glance.project_id, configured)


def inventory_of(target: Target, machine: Machine | None = None) -> Inventory:
    """Log in and take the inventory of a target. Raises CloudError, ConfigError."""
    return take_inventory(target, Glance.connect(target.cloud), machine)


def sources_of_0_1(target: Target, glance: Glance) -> list[Image]:
    """Return the source images that 0.1.0 published for a target, newest first.

    It did with `source.publish_stock`. Nothing changes or deletes them any more.
    """
    images = glance.list({SOURCE_OF_0_1: target.name, "owner": glance.project_id})
    return newest_first(images)


def usage_where_needed(
    inventory: Inventory, target: Target, *, promoted: str | None, strict: bool = True
) -> Usage:
    """Ask Octavia what is in use, where an image would be retired were nothing in use.

    Raises CloudError where the configuration requires an answer and there is none; unless `strict`,
    the usage is unknown then, and no image may be retired.
    """
    if not retires_unless_used(inventory, target, promoted=promoted):
        return Usage()
    return usage(target) if strict else _usage_or_reason(target)


def _usage_or_reason(target: Target) -> Usage:
    """Ask Octavia; a required answer that does not come keeps every image, and nothing else."""
    try:
        return usage(target)
    except OctaviaError as error:
        return Usage(unknown=error.reason, required=True)
