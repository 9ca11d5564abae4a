"""What stays written at the end of a rollover, and what the next pass makes of it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retrofit.fleet.rollover.record import PROPERTY, Record, record_on
from retrofit.operations import rollover
from retrofit.plan import Freshness
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

SILENT = Freshness(image_id=RECENT.id, unknown="no answer", unanswered=True)
NEVER = Freshness(image_id=RECENT.id, unknown="the image has no evidence of its packages")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MemoryCloud:
    return memory_cloud(monkeypatch, tmp_path)


def begun(cloud: MemoryCloud, *, on: str = PROMOTED.id) -> Record:
    """Have a rollover going on."""
    record = Record(began_at=NOW - 3 * DAY)
    cloud.update(on, {PROPERTY: record.as_text()})
    return record


@pytest.mark.parametrize("carrier", [PROMOTED.id, RECENT.id])
def test_a_rollover_goes_on_where_the_archive_does_not_answer(
    cloud: MemoryCloud, carrier: str
) -> None:
    record = begun(cloud, on=carrier)
    cloud.add("a", RECENT)
    cloud.amphorae["a"] = tuple(replace(each, image_id=image(7).id) for each in cloud.amphorae["a"])
    unseen = image(7, age_hours=9 * 24, properties=promoted_at(8))
    cloud.images[unseen.id] = unseen
    cloud.archive[unseen.id] = replace(SILENT, image_id=unseen.id)
    _, report = cloud.roll()
    assert report.outcome == "postponed"
    assert "no answer" in str(report.reasons)
    assert record_on(cloud.images[carrier]) == record
    cloud.archive[unseen.id] = lacking(unseen, "openssl")
    _, report = cloud.roll()
    assert (report.outcome, cloud.asked) == ("rolled_over", ["a"])
    assert not any(PROPERTY in each.properties for each in cloud.images.values())


def test_a_rollover_ends_where_no_answer_would_change_anything(cloud: MemoryCloud) -> None:
    begun(cloud)
    cloud.add("never", RECENT)
    cloud.archive[RECENT.id] = NEVER
    cloud.add("moved", PROMOTED)
    cloud.archive[PROMOTED.id] = replace(SILENT, image_id=PROMOTED.id)
    cloud.add("excluded", OLD, project_id="theirs")
    cloud.archive[OLD.id] = replace(SILENT, image_id=OLD.id)
    exclude = {"exclude": {"projects": ["theirs"]}}
    rules = cloud.target.rollover.model_validate({**cloud.target.rollover.model_dump(), **exclude})
    cloud.target = cloud.target.model_copy(update={"rollover": rules})
    _, report = cloud.roll()
    assert report.outcome == "rolled_over"
    assert PROPERTY not in cloud.images[PROMOTED.id].properties


def test_an_archive_that_does_not_answer_begins_no_rollover(cloud: MemoryCloud) -> None:
    cloud.add("a", RECENT)
    cloud.archive[RECENT.id] = SILENT
    assert cloud.roll()[1].outcome == "unchanged"
    assert PROPERTY not in cloud.images[PROMOTED.id].properties


def test_what_a_person_has_seen_halts_no_later_pass(
    cloud: MemoryCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollover, "_lock", lambda *_: nullcontext())
    cloud.add("done", PROMOTED, provisioning_status="ERROR", updated_at=NOW - DAY)
    cloud.add("stuck", OLD, provisioning_status="PENDING_UPDATE", updated_at=NOW - DAY)
    cloud.add("a", OLD)
    rollover.resume_rollover(cloud.target, cloud.settings)
    outcomes = [cloud.roll()[1].outcome for _ in range(3)]
    assert outcomes == ["rolled_over", "unchanged", "unchanged"]
    assert cloud.asked == ["a"]
    # Other trouble of the same load balancer is new.
    cloud.change("done", updated_at=NOW)
    with pytest.raises(Exception, match="done is in ERROR"):
        cloud.roll()


def test_a_failover_that_failed_is_not_asked_again_at_the_next_pass(cloud: MemoryCloud) -> None:
    rules = cloud.target.rollover.model_copy(update={"most_failures": 1})
    cloud.target = cloud.target.model_copy(update={"rollover": rules})
    cloud.add("a", OLD)
    cloud.add("b", OLD)
    cloud.meet["a"] = lambda: None
    outcomes = [cloud.roll()[1].outcome for _ in range(3)]
    assert outcomes == ["rolled_over", "unchanged", "unchanged"]
    assert cloud.asked == ["a", "b"]
    # What becomes due later is moved, and ends as quietly.
    cloud.add("c", OLD)
    assert [cloud.roll()[1].outcome for _ in range(2)] == ["rolled_over", "unchanged"]
    assert cloud.asked == ["a", "b", "c"]


def test_the_next_image_begins_a_rollover_of_its_own(cloud: MemoryCloud) -> None:
    rules = cloud.target.rollover.model_copy(update={"most_failures": 1, "soak": 24})
    cloud.target = cloud.target.model_copy(update={"rollover": rules})
    cloud.add("a", OLD)
    cloud.meet["a"] = lambda: None
    cloud.roll()
    cloud.promote(image(10, tagged=True, age_hours=2, properties=promoted_at(1 / 24)))
    del cloud.meet["a"]
    decision, report = cloud.roll()
    assert (report.outcome, cloud.asked) == ("postponed", ["a"])
    assert getattr(decision, "until", None) == NOW + timedelta(hours=23)
