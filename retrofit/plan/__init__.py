"""Inventory + settings + clock -> what to do and why; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from retrofit.config import Target
from retrofit.errors import SourceError
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
from retrofit.trust import Offer, Vouched, vouched

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
    """What a run would do now; every part carries its reason.

    `seen` are the ids of the finished images that it was decided upon.
    """

    target: str
    choice: SourceChoice
    promoted: Image | None
    decision: Decision | None
    rotation: Rotation
    sweep: tuple[Image, ...]
    seen: frozenset[str]
    warnings: tuple[str, ...] = ()
    pause: Pause | None = None
    vouched: Vouched | None = None
    refusal: SourceError | None = None

    def require(self) -> tuple[Source, Decision]:
        """Return the source and what to do with it.

        Raises SourceError when there is none, or none that may be trusted as far as a build needs.
        """
        if self.choice.source is None or self.decision is None:
            raise self.choice.refusal()
        if self.refusal is not None:
            raise self.refusal
        return self.choice.source, self.decision

    @property
    def voucher(self) -> Vouched:
        """Return what vouches for the source of the build that was decided."""
        if self.vouched is None:
            raise ValueError("no build was decided, or its source was refused")
        return self.vouched


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
    offer: Offer | None = None,
) -> Plan:
    """Put all decisions of one run together, as far as they can be known before it.

    `ask` tells what is in use, given the id of the image that will stand promoted; `offer` is what
    the mirror has, which may have to vouch for the source.
    """
    promoted = promoted_image(inventory, target)
    decision = None
    if choice.source is not None:
        decision = decide(
            inventory, target, choice.source, recipe=recipe, force=force, failed=failed
        )
    stays = decision.promote if decision is not None and decision.promote else promoted
    standing = stays.id if stays else None
    trust, refusal = None, None
    if choice.source is not None and decision is not None and decision.build:
        try:
            trust = vouched(choice.source, target, offer or Offer())
        except SourceError as error:
            refusal = error
    return Plan(
        target=target.name,
        choice=choice,
        promoted=promoted,
        decision=decision,
        rotation=rotate(inventory, target, promoted=standing, usage=ask(standing)),
        sweep=tuple(leftovers(inventory, target, host=host, lock_shared=lock_shared)),
        seen=inventory.finished,
        warnings=tuple(warnings),
        pause=pause,
        vouched=trust,
        refusal=refusal,
    )
