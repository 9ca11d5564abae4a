"""Facts + settings -> what to do and why; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from retrofit.config import Target
from retrofit.control_plane import agents
from retrofit.control_plane.forecast import forecast
from retrofit.control_plane.releases import ControlPlane
from retrofit.errors import ConfigError, SourceError
from retrofit.model import RELEASE_SERIES, Image, Source
from retrofit.plan.backoff import FailedBuild, inputs_of
from retrofit.plan.carry_over import CarryOver, ambiguity, carry_overs
from retrofit.plan.companions import orphans
from retrofit.plan.decision import Decision, decide
from retrofit.plan.emergency import Emergency, emergency, ways_out, with_promoted
from retrofit.plan.facts import Facts
from retrofit.plan.freshness import Freshness
from retrofit.plan.identity import CHARM_TAG, Identity, Machine, Ownership
from retrofit.plan.image_state import (
    ImageState,
    image_state,
    is_eligible,
    is_usable,
    is_whole,
    own_tags,
)
from retrofit.plan.inventory import (
    Inventory,
    ids,
    leftovers,
    octavia_order,
    promoted_image,
)
from retrofit.plan.manual import Promotion, promotion, rollback
from retrofit.plan.pause import Pause, in_force, pauses_on
from retrofit.plan.rotation import Rotation, displaced, retires_unless_used, rotate
from retrofit.plan.warnings import warnings
from retrofit.source.choose import SourceChoice
from retrofit.source.trust import Provenance, establish_trust

__all__ = [
    "CHARM_TAG",
    "CarryOver",
    "Decision",
    "Emergency",
    "Facts",
    "FailedBuild",
    "Freshness",
    "Identity",
    "ImageState",
    "Inventory",
    "Machine",
    "Ownership",
    "Pause",
    "Plan",
    "Promotion",
    "Rotation",
    "ambiguity",
    "carry_overs",
    "decide",
    "emergency",
    "ids",
    "image_state",
    "in_force",
    "inputs_of",
    "is_eligible",
    "is_usable",
    "is_whole",
    "leftovers",
    "needs_usage",
    "octavia_order",
    "own_tags",
    "pauses_on",
    "plan",
    "promoted_image",
    "promotion",
    "retires_unless_used",
    "rollback",
    "rotate",
    "wants_build",
    "warnings",
]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do now; every part carries its reason.

    `clean_up` are unfinished records of dead runs, and evidence whose image is not listed.
    `carry_over` are images of ours that do not record our present identity yet; with an
    `ambiguity` a run changes nothing at all.
    `known_ids` are the ids of the finished images that it was decided upon. In an `emergency` an
    image is promoted before anything else is decided: `after_repair` is what is decided then.
    `ways_out` are the commands by which a person ends it. `displaced` are the images that retention
    keeps until the image of a build is promoted, and not after it.
    """

    target: str
    choice: SourceChoice
    promoted: Image | None
    decision: Decision | None
    rotation: Rotation
    clean_up: tuple[Image, ...]
    known_ids: frozenset[str]
    warnings: tuple[str, ...] = ()
    pause: Pause | None = None
    control_plane: ControlPlane | None = None
    provenance: Provenance | None = None
    refusal: SourceError | None = None
    carry_over: tuple[CarryOver, ...] = ()
    ambiguity: ConfigError | None = None
    emergency: Emergency | None = None
    after_repair: Decision | None = None
    ways_out: tuple[str, ...] = ()
    freshness: Freshness | None = None
    displaced: tuple[Image, ...] = ()

    @property
    def repair(self) -> Image | None:
        """Return the image that a run promotes before all else, where Octavia finds none."""
        found = self.emergency
        if found is None or self.pause is not None or self.ambiguity is not None:
            return None
        return found.candidates[0] if found.candidates else None

    def require(self) -> tuple[Source, Decision]:
        """Return the source and what to do with it.

        Raises SourceError when there is none, or none that may be trusted as far as a build needs,
        and ConfigError where images cannot be proven to be ours.
        """
        if self.ambiguity is not None:
            raise self.ambiguity
        if self.choice.source is None or self.decision is None:
            raise self.choice.refusal()
        if self.refusal is not None:
            raise self.refusal
        return self.choice.source, self.decision

    def require_provenance(self) -> Provenance:
        """Return the provenance of the source to build from. Raises ValueError without a build."""
        if self.provenance is None:
            raise ValueError("no build was decided, or its source was refused")
        return self.provenance


def plan(facts: Facts, target: Target) -> Plan:
    """Put all decisions of one run together, as far as they can be known before it."""
    decision, choice = _decision(facts, target), facts.choice
    missing = emergency(facts.inventory, target)
    provenance, refusal = None, None
    if choice.source is not None and decision is not None and decision.build:
        try:
            provenance = establish_trust(choice.source, target, facts.mirror)
        except SourceError as error:
            refusal = error
    return Plan(
        target=target.name,
        choice=choice,
        promoted=promoted_image(facts.inventory, target),
        decision=decision,
        rotation=rotate(
            facts.inventory, target, promoted=_standing(facts, target), usage=facts.usage
        ),
        clean_up=(
            *leftovers(facts.inventory, target),
            *orphans(facts.inventory, target),
        ),
        carry_over=carry_overs(facts.inventory, target),
        ambiguity=ambiguity(facts.inventory, target),
        known_ids=facts.inventory.finished,
        warnings=(*facts.warnings, *_forecast(facts, target, decision)),
        pause=facts.pause,
        control_plane=facts.control_plane,
        provenance=provenance,
        refusal=refusal,
        emergency=missing,
        after_repair=_after_repair(facts, target, missing),
        ways_out=()
        if missing is None
        else ways_out(missing, target, paused=facts.pause is not None),
        freshness=facts.freshness,
        displaced=()
        if decision is None or not decision.build
        else displaced(facts.inventory, target, promoted=_standing(facts, target)),
    )


def _after_repair(facts: Facts, target: Target, missing: Emergency | None) -> Decision | None:
    """Return what a run decides once the first candidate is promoted again."""
    if missing is None or not missing.candidates:
        return None
    back = with_promoted(facts.inventory, missing.candidates[0], target)
    return _decision(replace(facts, inventory=back), target)


def _forecast(facts: Facts, target: Target, decision: Decision | None) -> list[str]:
    """Return what the control plane will refuse of the image that is to be built."""
    if facts.choice.source is None:
        return []
    if decision is None or not decision.build:
        return []
    series = RELEASE_SERIES.get(facts.choice.source.os_version)
    guards = target.octavia.compatibility
    return forecast(
        None if guards.language == "ignore" else facts.control_plane,
        facts.certificates,
        series,
        target.source.series,
        agent=_agent_forecast(facts, target, series),
    )


def _agent_forecast(facts: Facts, target: Target, series: str | None) -> list[str]:
    """Return what is known of the agent that a build will install."""
    plane, build = facts.control_plane, target.build
    if plane is None or series is None or target.octavia.compatibility.version == "ignore":
        return []
    agent = agents.planned_agent(
        series,
        agent=build.agent,
        agent_version=build.agent_version,
        cloud_archive=build.cloud_archive,
    )
    return agents.forecast(plane, agent)


def wants_build(facts: Facts, target: Target) -> bool:
    """Return True if the plan is to build: only then Octavia's release matters to a run."""
    decision = _decision(facts, target)
    return decision is not None and decision.build


def needs_usage(facts: Facts, target: Target) -> bool:
    """Return True if the plan depends on what Octavia runs: an image may be retired."""
    return retires_unless_used(facts.inventory, target, promoted=_standing(facts, target))


def _decision(facts: Facts, target: Target) -> Decision | None:
    if facts.choice.source is None:
        return None
    return decide(
        facts.inventory,
        target,
        facts.choice.source,
        recipe=facts.recipe,
        force=facts.force,
        failed=facts.failed,
        clock=facts.clock,
        freshness=facts.freshness,
    )


def _standing(facts: Facts, target: Target) -> str | None:
    """Return the id of the image that is promoted after a run that builds none."""
    decision = _decision(facts, target)
    if decision is not None and decision.promote is not None:
        return decision.promote.id
    promoted = promoted_image(facts.inventory, target)
    return None if promoted is None else promoted.id
