"""Promote an image, go back to an older one, and retire: what an operator does besides running."""

from __future__ import annotations

from retrofit.build.recipe import recipe_for
from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.errors import ConfigError
from retrofit.observe.target import inventory_of, take_inventory, usage_where_needed
from retrofit.plan import Inventory, Promotion, Rotation, promoted_image, promotion
from retrofit.plan import rollback as plan_rollback
from retrofit.plan import rotate as plan_rotation
from retrofit.plan.image_state import is_rejected
from retrofit.publish import rotate
from retrofit.publish.carry_over import carry_over
from retrofit.runner import WAIT, run_action
from retrofit.runs.machine import this_machine
from retrofit.runs.report import RunReport
from retrofit.runs.report_document import Action


def preview_promotion(target: Target, image_id: str) -> Promotion:
    """Return what promoting an image would do. Raises PublishError where it cannot be done."""
    return promotion(inventory_of(target), target, image_id, recipe=_recipe(target))


def preview_rollback(target: Target, image_id: str | None) -> Promotion:
    """Return what going back would do. Raises PublishError where there is nothing to go back to."""
    return plan_rollback(inventory_of(target), target, image_id, recipe=_recipe(target))


def preview_retirement(target: Target) -> Rotation:
    """Return which images would be deleted now, and why others stay."""
    inventory = inventory_of(target)
    promoted = promoted_image(inventory, target)
    promoted_id = promoted.id if promoted else None
    used = usage_where_needed(inventory, target, promoted=promoted_id)
    return plan_rotation(inventory, target, promoted=promoted_id, usage=used)


def promote(
    target: Target,
    settings: Settings,
    image_id: str,
    *,
    reason: str | None = None,
    wait: float = WAIT,
) -> RunReport:
    """Promote one image of the target, and require that Octavia selects it.

    Images of the target that are newer or more current are rejected: no run promotes them again by
    itself.
    """
    return _promote(target, settings, image_id, action="promote", reason=reason, wait=wait)


def rollback(
    target: Target,
    settings: Settings,
    image_id: str,
    *,
    reason: str | None = None,
    wait: float = WAIT,
) -> RunReport:
    """Promote the image that `preview_rollback` returned, as `promote` does."""
    return _promote(target, settings, image_id, action="rollback", reason=reason, wait=wait)


def retire(target: Target, settings: Settings, *, reason: str | None = None) -> RunReport:
    """Delete now the images that retention lets go."""

    def work(report: RunReport) -> None:
        glance = Glance.connect(target.cloud)
        inventory = _taken_over(target, settings, glance, report)
        promoted = promoted_image(inventory, target)
        report.image_id = promoted.id if promoted else None
        if promoted is None:
            report.notes.append("no image is promoted: none is retired")
        with report.step("retire"):
            rotate.retire(
                target,
                glance,
                report,
                promoted=report.image_id,
                machine=inventory.machine,
                strict=True,
            )
        report.outcome = "retired" if report.retired else "unchanged"

    return run_action(target, settings, "retire", work, order=reason)


def _promote(
    target: Target,
    settings: Settings,
    image_id: str,
    *,
    action: Action,
    reason: str | None,
    wait: float,
) -> RunReport:
    def work(report: RunReport) -> None:
        glance = Glance.connect(target.cloud)
        inventory = _taken_over(target, settings, glance, report)
        wanted = promotion(inventory, target, image_id, recipe=_recipe(target))
        report.image_id = wanted.previous.id if wanted.previous else None
        if wanted.changes_nothing:
            for image in wanted.reject:
                rotate.reject(glance, report, image)
            report.reasons.append(f"image {image_id} is promoted already")
            if is_rejected(wanted.image):
                rotate.accept(glance, wanted.image)
        else:
            was = wanted.previous.id if wanted.previous else "nothing"
            report.reasons.append(f"{action} by hand (was {was})")
            with report.step("promote"):
                rotate.promote(target, glance, report, wanted.image, instead_of=wanted.reject)
        with report.step("demote"):
            rotate.demote_others(
                target, glance, report, promoted=image_id, known_ids=wanted.known_ids
            )
            rotate.require_octavia_selects(target, glance, report, wanted.image)
        done = not wanted.changes_nothing or report.demoted
        report.outcome = "promoted" if done else "unchanged"

    return run_action(target, settings, action, work, order=reason, wait=wait)


def _taken_over(target: Target, settings: Settings, glance: Glance, report: RunReport) -> Inventory:
    """Return the inventory, once all images of ours record our present identity."""
    machine = this_machine(settings)
    inventory = take_inventory(target, glance, machine)
    if carry_over(inventory, target, glance, report):
        return take_inventory(target, glance, machine)
    return inventory


def _recipe(target: Target) -> str | None:
    """Return the digest of what is configured; None where its elements cannot be read now.

    No run promotes anything either, as long as they cannot.
    """
    try:
        return recipe_for(target.build).digest
    except ConfigError:
        return None
