"""Plan what a run would do now; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from retrofit.build.recipe import recipe_for
from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.observe.target import neighbours, observe_target
from retrofit.plan import Plan, plan


def plan_targets(
    targets: Iterable[Target], settings: Settings, *, force: bool = False
) -> list[Plan]:
    """Return the plan of each target; `force` as for a run.

    Raises CloudError, and ConfigError where the elements of a recipe cannot be read.
    """
    plans, looked = [], set()
    for target in targets:
        glance = Glance.connect(target.cloud)
        recipe = recipe_for(target.build).digest
        facts = observe_target(
            target, settings, glance, recipe=recipe, force=force, ask_archive=True
        )
        where = (glance.where, glance.project_id)
        if where not in looked:  # once for all targets of a cloud
            looked.add(where)
            found = neighbours(glance, settings.targets)
            facts = replace(facts, warnings=(*facts.warnings, *found))
        plans.append(plan(facts, target))
    return plans
