"""Demotion beside others who delete images: whatever is gone needs none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from retrofit.cloud import Glance
from retrofit.config import Target
from retrofit.plan import Identity
from retrofit.publish.rotate import demote_others
from retrofit.runs.report import RunReport
from tests.model.memory_glance import MemoryGlance
from tests.model.world import World
from tests.unit.images import OWN

TAG = "octavia-amphora"
LOOKS = 8
"""Calls of the look that comes before any change."""


def amphora(world: World, mark: str) -> str:
    made = world.add(b"an amphora", tags=frozenset({TAG}))
    identity = Identity(project_id=OWN, target="default", tag=TAG)
    properties = {**identity.properties_of(made.id), "retrofit_promoted_at": mark}
    image_hash = f"sha512:{world.images[made.id].hash_value}"
    world.change(made.id, properties={**properties, "retrofit_image_hash": image_hash})
    world.pass_time(hours=1)
    return made.id


@pytest.mark.parametrize("call", range(LOOKS, LOOKS + 3))
def test_what_others_delete_before_any_of_our_changes_is_as_good_as_demoted(call: int) -> None:
    world = World(0)
    old, new = (amphora(world, mark) for mark in ("2026-11-01", "2026-11-02"))
    deleted: list[int] = []

    def others(number: int) -> None:
        if number == call:
            deleted.append(number)
            del world.images[old]

    glance: Any = MemoryGlance(world, others=others)
    report = RunReport(run_id="r", target="default", log_dir=Path("/nowhere"))
    demote_others(Target(), cast("Glance", glance), report, promoted=new, known_ids={old, new})
    assert deleted, "there are fewer calls"
    assert set(world.images) == {new}
    assert TAG in world.images[new].tags
