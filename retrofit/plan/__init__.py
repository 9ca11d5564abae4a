"""Inventory + settings + clock -> what to do and why; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from retrofit.config import Target
from retrofit.model import Image, Source, Usage
from retrofit.plan.by_hand import Promotion, promotion, rollback
from retrofit.plan.decision import Decision, decide
from retrofit.plan.failed_build import FailedBuild, inputs_of
from retrofit.plan.inventory import (
    CHARM_TAG,
    UNFINISHED,
    Inventory,
    ids,
    is_eligible,
    is_set_aside,
    is_usable,
    is_whole,
    leftovers,
    octavia_order,
    promoted_image,
)
from retrofit.plan.pause import Pause, in_force, pauses_on
from retrofit.plan.rotation import Rotation, rotate
from retrofit.plan.warnings import warnings
from retrofit.source import SourceChoice

__all__ = [
    "CHARM_TAG",
    "UNFINISHED",
    "Decision",
    "FailedBuild",
    "Inventory",
    "Pause",
    "Plan",
    "Promotion",
    "Rotation",
    "decide",
    "ids",
    "in_force",
    "inputs_of",
    "is_eligible",
    "is_set_aside",
    "is_usable",
    "is_whole",
    "leftovers",
    "octavia_order",
    "pauses_on",
    "plan",
    "promoted_image",
    "promotion",
    "rollback",
    "rotate",
    "warnings",
]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do now; every part carries its reason."""

    target: str
    choice: SourceChoice
    promoted: Image | None
    decision: Decision | None
    rotation: Rotation
    sweep: tuple[Image, ...]
    warnings: tuple[str, ...] = ()
    pause: Pause | None = None

    def require(self) -> tuple[Source, Decision]:
        """Return the source and what to do with it; raises SourceError when there is none."""
        if self.choice.source is None or self.decision is None:
            raise self.choice.refusal()
        return self.choice.source, self.decision


def plan(
    inventory: Inventory,
    target: Target,
    choice: SourceChoice,
    *,
    recipe: str,
    host: str,
    ask: Callable[[str | None], Usage],
    force: bool = False,
    lock_shared: bool = False,
    failed: FailedBuild | None = None,
    pause: Pause | None = None,
    warnings: Iterable[str] = (),
) -> Plan:
    """Put all decisions of one run together, as far as they can be known before it.

    `ask` tells what is in use, given the id of the image that will stand promoted.
    """
    promoted = promoted_image(inventory, target)
    decision = None
    if choice.source is not None:
        decision = decide(
            inventory, target, choice.source, recipe=recipe, force=force, failed=failed
        )
    stays = decision.promote if decision is not None and decision.promote else promoted
    standing = stays.id if stays else None
    return Plan(
        target=target.name,
        choice=choice,
        promoted=promoted,
        decision=decision,
        rotation=rotate(inventory, target, promoted=standing, usage=ask(standing)),
        sweep=tuple(leftovers(inventory, target, host=host, lock_shared=lock_shared)),
        warnings=tuple(warnings),
        pause=pause,
    )
