"""What an operator does besides running: promote an image, go back to an older one, retire."""

from __future__ import annotations

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.dib import recipe_for
from retrofit.errors import ConfigError
from retrofit.plan import Promotion, Rotation, promoted_image, promotion, rollback, rotate
from retrofit.recorded import recorded
from retrofit.report import Action, RunReport
from retrofit.rotation import ask_as_octavia, demote_others, promote, retire, set_aside
from retrofit.survey import take_inventory, usage_where_needed


def preview_promotion(target: Target, image_id: str) -> Promotion:
    """Say what promoting an image would do. Raises PublishError where it cannot be done."""
    inventory = take_inventory(target, Glance.connect(target.cloud))
    return promotion(inventory, target, image_id, recipe=_recipe(target))


def preview_rollback(target: Target, image_id: str | None) -> Promotion:
    """Say what going back would do. Raises PublishError where there is nothing to go back to."""
    inventory = take_inventory(target, Glance.connect(target.cloud))
    return rollback(inventory, target, image_id, recipe=_recipe(target))


def preview_retirement(target: Target) -> Rotation:
    """Say which images would be deleted now, and why others stay."""
    inventory = take_inventory(target, Glance.connect(target.cloud))
    promoted = promoted_image(inventory, target)
    standing = promoted.id if promoted else None
    used = usage_where_needed(inventory, target, promoted=standing)
    return rotate(inventory, target, promoted=standing, usage=used)


def promote_by_hand(
    target: Target, settings: Settings, image_id: str, *, action: Action = "promote"
) -> RunReport:
    """Make one image of the target the one that Octavia takes, and see that it does.

    Images of the target that are newer or more current are set aside: no run promotes them again
    by itself.
    """

    def work(report: RunReport) -> None:
        glance = Glance.connect(target.cloud)
        wanted = promotion(take_inventory(target, glance), target, image_id, recipe=_recipe(target))
        report.image_id = wanted.previous.id if wanted.previous else None
        # Marked first: a run after a crash in here must not undo what was wanted.
        for image in wanted.set_aside:
            set_aside(glance, image)
        if wanted.changes_nothing:
            report.reasons.append(f"image {image_id} is promoted already")
        else:
            was = wanted.previous.id if wanted.previous else "nothing"
            report.reasons.append(f"{action} by hand (was {was})")
            with report.step("promote"):
                promote(target, glance, report, wanted.image)
        with report.step("demote"):
            demote_others(target, glance, report, promoted=image_id, seen=wanted.seen)
            ask_as_octavia(target, glance, report, wanted.image)
        done = not wanted.changes_nothing or report.demoted
        report.outcome = "promoted" if done else "unchanged"

    return recorded(target, settings, action, work)


def retire_by_hand(target: Target, settings: Settings) -> RunReport:
    """Delete now what the rules of retention let go."""

    def work(report: RunReport) -> None:
        glance = Glance.connect(target.cloud)
        promoted = promoted_image(take_inventory(target, glance), target)
        report.image_id = promoted.id if promoted else None
        if promoted is None:
            report.notes.append("nothing is promoted: nothing is retired")
        with report.step("retire"):
            retire(target, glance, report, promoted=report.image_id)
        report.outcome = "retired" if report.retired else "unchanged"

    return recorded(target, settings, "retire", work)


def _recipe(target: Target) -> str | None:
    """Return the digest of what is configured; None where its elements cannot be read now.

    No run promotes anything either, as long as they cannot.
    """
    try:
        return recipe_for(target.build).digest
    except ConfigError:
        return None
