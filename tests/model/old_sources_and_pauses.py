"""Two faults of old that need some code to be put back: what a source is, and where a pause is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from retrofit import pipeline
from retrofit.observe import sources
from retrofit.operations import pause
from retrofit.plan.inventory import promoted_image
from retrofit.plan.pause import PROPERTY
from retrofit.runs import pauses
from retrofit.source import choose
from retrofit.source.vouched import VouchedChoice

Put = pytest.MonkeyPatch


def a_source_is_what_its_properties_say(put: Put) -> None:
    """Row 2: of those that look alike the last one registered, whatever its bytes are."""
    preference = choose._Candidate.preference

    def newest(self: Any, settings: Any) -> tuple[object, ...]:
        *before, registered, number = preference(self, settings)
        return (*before, -registered, number)  # type: ignore[operator]

    put.setattr(choose._Candidate, "preference", newest)
    put.setattr(sources, "vouched", lambda choice, *_: VouchedChoice(choice=choice))


def a_pause_is_on_one_image(put: Put) -> None:
    """Row 9: it is on the promoted image, and nowhere else unless there is none."""

    def write(glance: Any, inventory: Any, target: Any, state_dir: Any, ordered: Any) -> bool:
        ours = inventory.ours(target)
        carrier = promoted_image(inventory, target) or next(iter(ours), None)
        if carrier is None:
            pauses.keep_locally(ordered, [], target, state_dir)
            return False
        glance.update(carrier.id, {PROPERTY: json.dumps(ordered.as_dict())})
        for image in ours:
            if image.property(PROPERTY) and image.id != carrier.id:
                glance.update(image.id, {PROPERTY: None})
        pauses.forget_locally(target, state_dir)
        return True

    put.setattr(pipeline, "keep_locally", lambda *_: None)
    put.setattr(pause, "write_pause", write)
