"""The faults that were seen in 0.1.0, each put back at the place that mended it.

Here are those that show in
images; the others have a test in the room of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from retrofit import pipeline, plan, runner
from retrofit.cloud.clock import Clock
from retrofit.config import PublishSettings
from retrofit.lock import names
from retrofit.observe import presence
from retrofit.observe import target as observe
from retrofit.plan import decision, rotation
from retrofit.plan.image_state import DEMOTED_AT, ImageState, image_state, rejected_at
from retrofit.plan.inventory import octavia_order
from retrofit.plan.presence import Presence
from retrofit.publish import look_again, upload
from tests.model import installations, old_identities, old_sources_and_pauses
from tests.model.lagging import ObservedGlance

Put = pytest.MonkeyPatch


@dataclass(frozen=True, kw_only=True)
class OldBehaviour:
    """One fault: how to put it back, and a part of what the judge says of it."""

    number: int
    put_back: Callable[[Put], None]
    found: str


def _bytes_are_there_because_glance_says_so(put: Put) -> None:
    def blind(image: Any, *_: Any, **__: Any) -> Presence:
        return Presence(image_id=image.id)

    old_identities.replace_everywhere(put, presence.observe_bytes, blind)
    old_identities.replace_everywhere(put, presence.read_all, blind)


def _what_was_read_once_is_so(put: Put) -> None:
    put.setattr(look_again, "LOOKS", 1)


def _amphorae_of_no_known_image_count_for_nothing(put: Put) -> None:
    put.setattr(rotation, "_of_unknown_image", lambda _usage, _left: None)


def _raised_demands_do_not_count(put: Put) -> None:
    put.setattr(decision, "shortfalls", lambda _image, _target: ())


def _goes_back_to_what_is_there(put: Put) -> None:
    put.setattr(decision, "step_back", lambda _source, _image, _settings: None)


def _promotes_what_a_person_rejected_where_nothing_stands(put: Put) -> None:
    decide = plan.decide

    def as_before(inventory: Any, target: Any, *rest: Any, **more: Any) -> Any:
        with pytest.MonkeyPatch.context() as alone:
            if plan.promoted_image(inventory, target) is None:
                alone.setattr(decision, "REMOVED_STATES", frozenset())
            return decide(inventory, target, *rest, **more)

    put.setattr(plan, "decide", as_before)


def _counts_by_the_clock_of_the_machine(put: Put) -> None:
    def clock(glance: ObservedGlance) -> Clock:
        return Clock(now=glance._world.now + glance.machine_clock())

    def left_at(image: Any, inventory: Any, target: Any) -> Any:
        untagged = image_state(image, target) is ImageState.UNTAGGED
        if target.publish.tag in image.tags or untagged:
            return inventory.now
        marks = [mark for mark in (image.time(DEMOTED_AT), rejected_at(image)) if mark is not None]
        if marks:
            return max(marks)
        newer = [each for each in inventory.images if octavia_order(each) > octavia_order(image)]
        return min((each.created_at for each in newer), default=inventory.now)

    put.setattr(ObservedGlance, "clock", clock)
    put.setattr(rotation, "_left_at", left_at)


def _asks_octavia_before_all_else(put: Put) -> None:
    observe_target = vars(pipeline)["observe_target"]

    def strict(target: Any, *rest: Any, **more: Any) -> Any:
        facts = observe_target(target, *rest, **more)
        if not plan.needs_usage(facts, target):
            return facts
        return replace(facts, usage=vars(observe)["usage"](target))

    put.setattr(pipeline, "observe_target", strict)


def _a_lock_is_named_after_its_target(put: Put) -> None:
    put.setattr(runner, "shared_name", lambda *, target, **_: names.old_name(target))


def _any_property_may_be_set(put: Put) -> None:
    def unchecked(*, properties: dict[str, str], **settings: Any) -> PublishSettings:
        checked = PublishSettings(**settings)
        return checked.model_copy(update={"properties": properties})

    put.setattr(installations, "PublishSettings", unchecked)
    put.setattr(upload, "require_recognised", lambda *_, **__: None)


IN_IMAGES: Mapping[str, OldBehaviour] = {
    "an installation is the name of its target": OldBehaviour(
        number=1,
        put_back=old_identities.an_installation_is_the_name_of_its_target,
        found="which is made by",
    ),
    "other tags count for nothing": OldBehaviour(
        number=1, put_back=old_identities.other_tags_count_for_nothing, found="as well"
    ),
    "a changed tag is another installation": OldBehaviour(
        number=1, put_back=old_identities.a_changed_tag_is_another_installation, found="stand after"
    ),
    "an image is what its properties say": OldBehaviour(
        number=2, put_back=old_identities.an_image_is_what_its_properties_say, found="which is"
    ),
    "a source is what its properties say": OldBehaviour(
        number=2,
        put_back=old_sources_and_pauses.a_source_is_what_its_properties_say,
        found="built from what is no source",
    ),
    "a pause is on one image": OldBehaviour(
        number=9, put_back=old_sources_and_pauses.a_pause_is_on_one_image, found="and is paused"
    ),
    "a renamed target is another one": OldBehaviour(
        number=10, put_back=old_identities.a_renamed_target_is_another_one, found="stand after"
    ),
    "evidence keeps a former name": OldBehaviour(
        number=10,
        put_back=old_identities.evidence_keeps_a_former_name,
        found="with a former name",
    ),
    "a host is a machine": OldBehaviour(
        number=13, put_back=old_identities.a_host_is_a_machine, found="of another machine"
    ),
    "no other installation of 0.1.0 is looked for": OldBehaviour(
        number=1,
        put_back=old_identities.no_other_installation_of_0_1_0_is_looked_for,
        found="which is made by 0.1.0",
    ),
    "bytes are there because Glance says so": OldBehaviour(
        number=6, put_back=_bytes_are_there_because_glance_says_so, found="lost"
    ),
    "what was read once is so": OldBehaviour(
        number=18, put_back=_what_was_read_once_is_so, found="failed for no reason"
    ),
    "amphorae of no known image count for nothing": OldBehaviour(
        number=7, put_back=_amphorae_of_no_known_image_count_for_nothing, found="had passed since"
    ),
    "raised demands do not count": OldBehaviour(
        number=8, put_back=_raised_demands_do_not_count, found="falls short"
    ),
    "goes back to what is there": OldBehaviour(
        number=11, put_back=_goes_back_to_what_is_there, found="went back by itself"
    ),
    "promotes what a person rejected": OldBehaviour(
        number=12,
        put_back=_promotes_what_a_person_rejected_where_nothing_stands,
        found="which a person rejected",
    ),
    "counts by the clock of the machine": OldBehaviour(
        number=14, put_back=_counts_by_the_clock_of_the_machine, found="had passed since"
    ),
    "asks Octavia before all else": OldBehaviour(
        number=15, put_back=_asks_octavia_before_all_else, found="Octavia is down"
    ),
    "any property may be set": OldBehaviour(
        number=16, put_back=_any_property_may_be_set, found="stand after"
    ),
    "a lock is named after its target": OldBehaviour(
        number=17, put_back=_a_lock_is_named_after_its_target, found="locked out"
    ),
}
