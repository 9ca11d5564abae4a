"""A rollover that looks at everything again knows as much as at its beginning."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from retrofit.errors import HaltedError
from retrofit.fleet.rollover.record import record_on
from retrofit.operations import rollover
from tests.unit.images import NOW
from tests.unit.images import amphora as image
from tests.unit.operations.rollover.memory import (
    DAY,
    OLD,
    PROMOTED,
    RECENT,
    MemoryCloud,
    lacking,
    memory_cloud,
    promoted_at,
)

YOUNG = image(7, age_hours=9 * 24, properties=promoted_at(8))
"""An older image that lacks nothing."""


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MemoryCloud:
    """Two load balancers that are due for a security fix alone."""
    made = memory_cloud(monkeypatch, tmp_path)
    made.add("a", RECENT)
    made.add("b", RECENT)
    made.archive[RECENT.id] = lacking(RECENT, "openssl")
    return made


def test_what_lacks_a_fix_is_moved_after_another_image_was_selected_for_a_moment(
    cloud: MemoryCloud,
) -> None:
    cloud.selected = [RECENT]
    _, report = cloud.roll()
    assert cloud.observed == 2
    assert (report.outcome, cloud.asked) == ("rolled_over", ["a", "b"])
    assert cloud.on("b") == {PROMOTED.id}


def test_what_lacks_a_fix_is_moved_after_a_promotion_in_the_middle(cloud: MemoryCloud) -> None:
    newer = image(10, tagged=True, age_hours=1, properties=promoted_at(0))

    def end_on_newer() -> None:
        cloud.promote(newer)
        cloud.amphorae["a"] = tuple(
            replace(each, id=f"{each.id}+", image_id=newer.id, created_at=NOW)
            for each in cloud.amphorae["a"]
        )

    cloud.meet["a"] = end_on_newer
    _, report = cloud.roll()
    assert (report.outcome, cloud.asked) == ("rolled_over", ["a", "b"])
    assert cloud.on("b") == {newer.id}


def test_resume_has_seen_the_error_of_what_is_due_for_a_fix(
    cloud: MemoryCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollover, "_lock", lambda *_: nullcontext())
    cloud.change("a", provisioning_status="ERROR", updated_at=NOW - DAY)
    rollover.resume_rollover(cloud.target, cloud.settings)
    record = record_on(cloud.images[PROMOTED.id])
    assert record is not None
    assert list(record.acknowledged) == ["a"]
    assert cloud.observed == 1
    _, report = cloud.roll()
    assert (report.outcome, sorted(cloud.asked)) == ("rolled_over", ["a", "b"])


def test_a_canary_that_fails_halts_though_it_was_due_as_the_first_to_try_alone(
    cloud: MemoryCloud,
) -> None:
    cloud.images[YOUNG.id] = YOUNG
    cloud.add("c", YOUNG)
    rules = cloud.target.rollover.model_copy(update={"canaries": ("c",)})
    cloud.target = cloud.target.model_copy(update={"rollover": rules})
    site = cloud.site()
    situation = site.observe()
    (canary,) = (each for each in situation.candidates if each.canary)
    assert (canary.due, canary.doubt) == ("the first to try the image", None)
    cloud.change("c", provisioning_status="ERROR", updated_at=NOW)
    (canary,) = (each for each in site.judged(situation, canary).candidates if each.canary)
    assert canary.doubt is not None
    assert "c is in ERROR" in canary.doubt.reason


def in_error(cloud: MemoryCloud) -> None:
    cloud.change("b", provisioning_status="ERROR", updated_at=NOW)


def on_a_wrong_image(cloud: MemoryCloud) -> None:
    cloud.amphorae["b"] = tuple(
        replace(each, id=f"{each.id}+", image_id=OLD.id, created_at=NOW)
        for each in cloud.amphorae["b"]
    )


@pytest.mark.parametrize(
    ("ends", "words"), [(in_error, r"b.* is in ERROR"), (on_a_wrong_image, OLD.id)]
)
def test_nothing_begins_beside_one_that_went_wrong_at_once(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    ends: Callable[[MemoryCloud], None],
    words: str,
) -> None:
    cloud = memory_cloud(monkeypatch, tmp_path, at_a_time=2)
    for name in ("a", "b", "c"):
        cloud.add(name, RECENT)
    cloud.archive[RECENT.id] = lacking(RECENT, "openssl")
    cloud.meet["b"] = partial(ends, cloud)
    with pytest.raises(HaltedError, match=words):
        cloud.roll()
    assert cloud.asked == ["a", "b"]
