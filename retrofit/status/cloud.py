"""What the cloud says of a target: asked rarely, and kept with the time of asking."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from retrofit.audit import audit
from retrofit.census import take_census
from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.dib import recipe_for
from retrofit.errors import RetrofitError
from retrofit.overview.facts import CloudFacts
from retrofit.plan import Plan
from retrofit.render import plan_as_dict
from retrofit.report import error_as_dict
from retrofit.status import image_as_dict, target_status
from retrofit.survey import standing_warnings, survey, take_inventory


def ask(
    target: Target, settings: Settings, *, fleet: bool = True, before: CloudFacts | None = None
) -> CloudFacts:
    """Ask Glance, and Octavia for its `fleet`; what does not answer leaves what was known before.

    Changes nothing anywhere.
    """
    try:
        return _asked(target, settings, fleet=fleet)
    except RetrofitError as error:
        return replace(before or CloudFacts(), error=error_as_dict(error))


def _asked(target: Target, settings: Settings, *, fleet: bool) -> CloudFacts:
    now = datetime.now(UTC)
    glance = Glance.connect(target.cloud)
    census = take_census(target)[0] if fleet else None
    inventory = census.inventory if census else take_inventory(target, glance)
    planned: Plan | None = None
    refusal: RetrofitError | None = None
    try:
        recipe = recipe_for(target.build).digest
        planned = survey(target, settings, glance, recipe=recipe, inventory=inventory)
        planned.require()
    except RetrofitError as error:  # what would keep a run from deciding anything, too
        refusal = error
    warnings = planned.warnings if planned else standing_warnings(inventory, target)
    return CloudFacts(
        asked_at=now,
        status=target_status(target, settings, glance, inventory, warnings=warnings),
        images=tuple(
            image_as_dict(image, inventory, target) for image in inventory.ours(target.name)
        ),
        plan={
            **(plan_as_dict(planned) if planned else {"action": "fail"}),
            "error": None if refusal is None else error_as_dict(refusal),
        },
        audit=audit(target, census, configured=settings.targets) if census else None,
    )
