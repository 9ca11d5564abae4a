"""What is told of runs: each change of state once, whatever the number of runs that see it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.chronicle import Chronicle
from retrofit.notify.changes import concluded
from tests.unit.standings import NOW, OLDER, report

TOO_OLD = timedelta(days=60)


def ended(outcome: str, **changed: Any) -> dict[str, Any]:
    return {**report(outcome), "image_created_at": None, **changed}


def after(
    runs: list[dict[str, Any]], *, start: Chronicle | None = None, now: datetime = NOW
) -> tuple[Chronicle, list[dict[str, Any]]]:
    chronicle, told = start or Chronicle(), []
    for run in runs:
        # As it is written and read again between two runs.
        from dataclasses import asdict

        chronicle = Chronicle.from_dict(json.loads(json.dumps(asdict(chronicle))))
        chronicle, changes = concluded(chronicle, run, now=now, too_old=TOO_OLD, host="c1")
        told += changes
    return chronicle, told


def events(runs: list[dict[str, Any]], **options: Any) -> list[str]:
    return [change["event"] for change in after(runs, **options)[1]]


def test_a_failure_is_told_once_until_it_is_over() -> None:
    runs = [ended("failed"), ended("waiting"), ended("failed"), ended("unchanged"), ended("failed")]
    assert events(runs) == ["failed", "recovered", "failed"]


def test_runs_that_find_nothing_to_do_are_not_worth_telling() -> None:
    assert events([ended("unchanged")] * 3) == []


def test_a_recovery_by_a_new_image_tells_both() -> None:
    assert events([ended("failed"), ended("published")]) == ["failed", "recovered", "published"]


@pytest.mark.parametrize("outcome", ["busy", "paused"])
def test_runs_that_do_nothing_change_no_state(outcome: str) -> None:
    error = {"code": "busy", "message": "another run", "hint": None} if outcome == "busy" else None
    between = ended(outcome, error=error)
    runs = [ended("failed"), between, ended("failed"), between, ended("unchanged")]
    assert events(runs) == ["failed", "recovered"]


def test_who_stops_a_run_is_not_told_that_it_failed() -> None:
    stopped = ended("failed", error={"code": "interrupted", "message": "stopped", "hint": None})
    assert events([stopped, stopped]) == []


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_another_promoted_image_is_told_when_it_was_done_by_hand(action: str) -> None:
    by_hand = ended("promoted", action=action, promoted=[OLDER], image_id=OLDER, reasons=[action])
    assert events([by_hand]) == ["published"]


def test_what_fails_by_hand_is_seen_by_whoever_does_it() -> None:
    assert events([ended("failed", action="rollback")]) == []


def test_an_image_is_said_to_be_too_old_once() -> None:
    old = (NOW - timedelta(days=61)).isoformat()
    seen = ended("unchanged", image_created_at=old)
    assert events([seen, seen, ended("paused", image_created_at=old)]) == ["too_old"]
    other = {**seen, "image_id": OLDER}
    assert events([seen, other, seen]) == ["too_old", "too_old", "too_old"]


def test_age_goes_on_while_the_cloud_does_not_answer() -> None:
    young = ended("unchanged", image_created_at=(NOW - timedelta(days=59)).isoformat())
    chronicle, told = after([young])
    assert told == []
    down = ended("failed", image_id=None)
    later = events([down, down], start=chronicle, now=NOW + timedelta(days=2))
    assert later == ["failed", "too_old"]


def test_a_change_says_what_somebody_who_is_woken_wants_to_know() -> None:
    _, (change,) = after([ended("failed")])
    assert change["summary"] == (
        "target default: the image is not a working amphora: lvs-masquerade.sh: not there"
    )
    assert change["error"]["hint"]
    assert {"id", "at", "host", "run_id", "image_id", "log_dir"} <= change.keys()


def test_the_same_change_has_the_same_name_when_it_is_worked_out_again() -> None:
    """As when the process dies between spooling it and recording that it was told."""
    before = Chronicle()
    first = concluded(before, ended("failed"), now=NOW, too_old=TOO_OLD, host="c1")[1]
    again = concluded(before, ended("waiting"), now=NOW, too_old=TOO_OLD, host="c1")[1]
    assert [each["id"] for each in first] == [each["id"] for each in again]


def test_counts_go_on_and_last_times_are_kept() -> None:
    chronicle, _ = after([ended("published"), ended("unchanged"), ended("unchanged")])
    assert chronicle.runs == {"published": 1, "unchanged": 2}
    assert chronicle.seconds["build"] == 312.5
    success = chronicle.last_success_at
    chronicle, _ = after([ended("failed")], start=chronicle)
    assert chronicle.last_success_at == success
    assert chronicle.failing_since == ended("failed")["started_at"]


@pytest.mark.parametrize(
    "record",
    [None, {}, {"epoch": 3}, {"epoch": "e", "told": "many"}, {"epoch": "e", "told": 1, "runs": 7}],
)
def test_a_record_of_another_form_is_as_good_as_none(record: Any) -> None:
    assert Chronicle.from_dict(record).runs == {}


@given(st.lists(st.sampled_from(["published", "unchanged", "failed", "waiting", "paused"])))
def test_failures_and_recoveries_take_turns(outcomes: list[str]) -> None:
    told = [
        event
        for event in events([ended(outcome) for outcome in outcomes])
        if event in {"failed", "recovered"}
    ]
    assert told == ["failed", "recovered"] * (len(told) // 2) + ["failed"] * (len(told) % 2)
    _, changes = after([ended(outcome) for outcome in outcomes])
    assert len({change["id"] for change in changes}) == len(changes)
