"""A plan as JSON types: what `retrofit plan`, the page and the metrics show."""

from __future__ import annotations

from typing import Any

from retrofit.plan import Decision, Plan, ids


def plan_as_dict(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON types."""
    decision, source = plan.decision, plan.choice.source
    held_back = None if decision is None else decision.held_back
    reasons = () if decision is None else decision.reasons
    repair = plan.repair
    if repair is not None:
        decision = plan.after_repair
        reasons = (f"image {repair.id} is promoted before all else", *_follows(decision))
    action = "none"
    if plan.pause is not None:
        action = "paused"
    elif decision is None or plan.ambiguity is not None or plan.refusal is not None:
        action = "fail"
    elif decision.build:
        action = "build"
    elif decision.promote is not None or repair is not None:
        action = "promote"
    elif decision.held_back is not None:
        action = "wait"
    promote = repair if decision is None or decision.promote is None else decision.promote
    return {
        "target": plan.target,
        "action": action,
        "paused": None if plan.pause is None else plan.pause.as_dict(),
        "reasons": list(reasons),
        "held_back_by": None if held_back is None else held_back.as_dict(),
        "notes": [
            *plan.ways_out,
            *plan.warnings,
            *(decision.notes if decision else ()),
            *plan.rotation.notes,
        ],
        "wanted": plan.choice.wanted,
        "trust": None
        if plan.provenance is None
        else {"level": plan.provenance.level, "note": plan.provenance.note},
        "octavia_release": None if plan.control_plane is None else str(plan.control_plane),
        "source": None
        if source is None
        else {"id": source.id, "product": source.product, "version": source.version},
        "rejected": [{"image": no.subject, "reason": no.reason} for no in plan.choice.rejected],
        "promoted": None if plan.promoted is None else plan.promoted.id,
        "repair": None if repair is None else repair.id,
        "promote": None if promote is None else promote.id,
        "demote": _would_demote(plan),
        "retire": list(ids(plan.rotation.retire)),
        "displaced": list(ids(plan.displaced)),
        "clean_up": list(ids(plan.clean_up)),
        "freshness": None if plan.freshness is None else plan.freshness.as_dict(),
        "carry_over": [
            {"image": each.image.id, "reason": each.reason, "tags": list(each.tags)}
            for each in plan.carry_over
        ],
    }


def _follows(decision: Decision | None) -> tuple[str, ...]:
    """Return the reasons of what follows a repair, where anything does."""
    if decision is None or not (decision.build or decision.promote or decision.held_back):
        return ()
    return decision.reasons


def _would_demote(plan: Plan) -> list[str]:
    """Return what would lose the tag: where a build is to come, the promoted image as well."""
    builds = plan.decision is not None and plan.decision.build
    replaced = (plan.promoted,) if builds and plan.promoted is not None else ()
    return list(ids((*replaced, *plan.rotation.demote)))
