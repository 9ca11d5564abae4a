"""What Glance and Octavia answer about a target: asked rarely, and kept with the time of asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from retrofit.build.recipe import recipe_for
from retrofit.cloud import Glance
from retrofit.cloud.requests import impatient
from retrofit.config import Settings, Target
from retrofit.errors import RetrofitError
from retrofit.fleet.audit import audit
from retrofit.observe.fleet import observe_fleet
from retrofit.observe.target import neighbours, observe_target, take_inventory, target_warnings
from retrofit.plan import Plan, plan
from retrofit.plan.document import plan_as_dict
from retrofit.runs.machine import this_machine
from retrofit.runs.report_document import ErrorDocument
from retrofit.status.facts import CloudFacts
from retrofit.status.models import PlanDocument
from retrofit.status.target import target_in_cloud


def ask(
    target: Target, settings: Settings, *, fleet: bool = True, before: CloudFacts | None = None
) -> CloudFacts:
    """Ask Glance, and with `fleet` Octavia; without answer the facts from `before` stay.

    Changes nothing anywhere. Who looks waits for less than a run does: see `impatient`.
    """
    try:
        return _asked(impatient(target), settings, fleet=fleet)
    except RetrofitError as error:
        return replace(before or CloudFacts(), error=ErrorDocument.of(error))


def _asked(target: Target, settings: Settings, *, fleet: bool) -> CloudFacts:
    now = datetime.now(UTC)
    glance = Glance.connect(target.cloud)
    observed = observe_fleet(target, settings)[0] if fleet else None
    machine = this_machine(settings)
    inventory = observed.inventory if observed else take_inventory(target, glance, machine)
    planned: Plan | None = None
    refusal: RetrofitError | None = None
    try:
        recipe = recipe_for(target.build).digest
        facts = observe_target(target, settings, glance, recipe=recipe, inventory=inventory)
        planned = plan(facts, target)
        planned.require()
    except RetrofitError as error:  # what would keep a run from deciding anything, too
        refusal = error
    warnings: Sequence[str] = (
        (*planned.ways_out, *planned.warnings) if planned else target_warnings(inventory, target)
    )
    if not inventory.ours(target):
        # Another installation may have them, or the target was renamed: a request more.
        warnings = (*warnings, *neighbours(glance, settings.targets))
    outline = plan_as_dict(planned) if planned else {"action": "fail"}
    failure = None if refusal is None else ErrorDocument.of(refusal)
    return CloudFacts(
        asked_at=now,
        target=target_in_cloud(target, settings, glance, inventory, warnings=warnings),
        plan=PlanDocument.model_validate({**outline, "error": failure}),
        audit=audit(target, observed, configured=settings.targets) if observed else None,
    )
