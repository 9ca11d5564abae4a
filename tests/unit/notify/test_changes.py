"""What is told of runs: each change of state once, whatever the number of runs that see it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.notify.changes import after_run
from retrofit.notify.notification import Notification
from retrofit.runs.history import History
from retrofit.runs.report_document import ReportDocument
from tests.unit.status.scenes import NOW, OLDER, report

STALE_AFTER = timedelta(days=60)


def ended(outcome: str, **changed: Any) -> ReportDocument:
    return report(outcome, **{"image_created_at": None, **changed})


def after(
    runs: list[ReportDocument], *, start: History | None = None, now: datetime = NOW
) -> tuple[History, list[Notification]]:
    history, told = start or History(), []
    for run in runs:
        # As it is written and read again between two runs.
        history = History.from_record(json.loads(json.dumps(history.as_dict())))
        history, notifications = after_run(
            history, run, now=now, stale_after=STALE_AFTER, host="c1"
        )
        told += notifications
    return history, told


def events(runs: list[ReportDocument], **options: Any) -> list[str]:
    return [change.event for change in after(runs, **options)[1]]


def test_a_failure_is_told_once_until_it_is_over() -> None:
    runs = [ended("failed"), ended("backoff"), ended("failed"), ended("unchanged"), ended("failed")]
    assert events(runs) == ["failed", "recovered", "failed"]


def test_runs_that_find_nothing_to_do_are_not_worth_telling() -> None:
    assert events([ended("unchanged")] * 3) == []


def test_a_recovery_by_a_new_image_tells_both() -> None:
    assert events([ended("failed"), ended("published")]) == ["failed", "recovered", "published"]


@pytest.mark.parametrize("outcome", ["locked", "paused"])
def test_runs_that_do_nothing_change_no_state(outcome: str) -> None:
    error = (
        {"code": "locked", "message": "another run", "hint": None} if outcome == "locked" else None
    )
    between = ended(outcome, error=error)
    runs = [ended("failed"), between, ended("failed"), between, ended("unchanged")]
    assert events(runs) == ["failed", "recovered"]


STOPPED = {"code": "interrupted", "message": "stopped", "hint": None}


@pytest.mark.parametrize("outcome", ["interrupted", "failed"])
def test_who_stops_a_run_is_not_told_that_it_failed(outcome: str) -> None:
    """0.1.0 wrote `failed`."""
    stopped = ended(outcome, error=STOPPED)
    assert stopped.outcome == "interrupted"
    assert events([stopped, stopped]) == []
    history, _ = after([ended("failed"), stopped, stopped])
    assert history.run_counts == {"failed": 1, "interrupted": 2}
    assert history.failures_in_row == 1


def test_failures_in_a_row_count_from_the_last_success() -> None:
    failed, held_back = ended("failed"), ended("backoff")
    assert after([failed, held_back, failed])[0].failures_in_row == 3
    assert after([failed, ended("paused"), failed])[0].failures_in_row == 2
    assert after([failed, ended("unchanged"), failed])[0].failures_in_row == 1
    assert after([failed, ended("published")])[0].failures_in_row == 0
    assert after([ended("failed", action="rollback")])[0].failures_in_row == 0


def test_durations_of_builds_are_counted_but_of_those_that_were_stopped() -> None:
    history, _ = after([ended("published"), ended("failed"), ended("unchanged")])
    assert (history.build_durations, history.build_seconds) == ({"600": 2}, 625.0)
    steps = [{"name": "build", "seconds": 3.0}]
    stopped = ended("interrupted", error=STOPPED, steps=steps)
    assert after([stopped], start=history)[0].build_durations == {"600": 2}


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_another_promoted_image_is_told_when_it_was_done_by_hand(action: str) -> None:
    by_hand = ended("promoted", action=action, promoted=[OLDER], image_id=OLDER, reasons=[action])
    assert events([by_hand]) == ["published"]


def test_what_fails_by_hand_is_seen_by_whoever_does_it() -> None:
    assert events([ended("failed", action="rollback")]) == []


def test_an_image_is_said_to_be_too_old_once() -> None:
    old = (NOW - timedelta(days=61)).isoformat()
    seen = ended("unchanged", image_created_at=old)
    assert events([seen, seen, ended("paused", image_created_at=old)]) == ["stale"]
    other = seen.model_copy(update={"image_id": OLDER})
    assert events([seen, other, seen]) == ["stale", "stale", "stale"]


def test_age_goes_on_while_the_cloud_does_not_answer() -> None:
    young = ended("unchanged", image_created_at=(NOW - timedelta(days=59)).isoformat())
    history, told = after([young])
    assert told == []
    down = ended("failed", image_id=None)
    later = events([down, down], start=history, now=NOW + timedelta(days=2))
    assert later == ["failed", "stale"]


def test_a_change_says_what_somebody_who_is_woken_wants_to_know() -> None:
    _, (change,) = after([ended("failed")])
    assert change.summary == (
        "target default: the image is not a working amphora: lvs-masquerade.sh: not there"
    )
    assert change.error
    assert change.error.hint
    assert {"id", "at", "host", "run_id", "image_id", "log_dir"} <= change.as_dict().keys()


def test_the_same_change_has_the_same_name_when_it_is_worked_out_again() -> None:
    """As when the process dies between spooling it and recording that it was told."""
    before = History()
    first = after_run(before, ended("failed"), now=NOW, stale_after=STALE_AFTER, host="c1")[1]
    again = after_run(before, ended("backoff"), now=NOW, stale_after=STALE_AFTER, host="c1")[1]
    assert [each.id for each in first] == [each.id for each in again]


def test_counts_go_on_and_last_times_are_kept() -> None:
    history, _ = after([ended("published"), ended("unchanged"), ended("unchanged")])
    assert history.run_counts == {"published": 1, "unchanged": 2}
    assert history.step_seconds["build"] == 312.5
    success = history.last_success_at
    history, _ = after([ended("failed")], start=history)
    assert history.last_success_at == success
    assert history.failing_since == ended("failed").started_at


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        {"sequence_id": 3},
        {"sequence_id": "e", "sequence_number": "many"},
        {"sequence_id": "e", "sequence_number": 1, "run_counts": 7},
    ],
)
def test_a_record_of_another_form_is_as_good_as_none(record: Any) -> None:
    history = History.from_record(record)
    assert (history.run_counts, history.sequence_number) == ({}, 0)


@given(st.lists(st.sampled_from(["published", "unchanged", "failed", "backoff", "paused"])))
def test_failures_and_recoveries_take_turns(outcomes: list[str]) -> None:
    told = [
        event
        for event in events([ended(outcome) for outcome in outcomes])
        if event in {"failed", "recovered"}
    ]
    assert told == ["failed", "recovered"] * (len(told) // 2) + ["failed"] * (len(told) % 2)
    _, changes = after([ended(outcome) for outcome in outcomes])
    assert len({change.id for change in changes}) == len(changes)


def lacking(outcome: str, *sources: str, **changed: Any) -> ReportDocument:
    known = {"sources": sources, "since": (NOW - timedelta(days=4)).isoformat()}
    return ended(outcome, image_id="i", missing_fixes=known, **changed)


def test_missing_fixes_are_told_once_and_each_new_one_again() -> None:
    one, two = lacking("unchanged", "haproxy"), lacking("unchanged", "haproxy", "openssl")
    unknown = ended("unchanged", image_id="i")
    assert events([one, one, unknown, one]) == ["fixes_missing"]
    assert events([one, two, one, two]) == ["fixes_missing"] * 3
    assert events([one, lacking("unchanged"), one]) == ["fixes_missing"] * 2
    (told,) = after([two])[1]
    assert told.summary == (
        "target default: the promoted image i lacks 2 security fixes (haproxy, openssl), the"
        " oldest for 4 days"
    )


def test_a_run_that_brings_them_tells_no_more_than_that() -> None:
    assert events([lacking("published", promoted=["i"])]) == ["published"]


def test_a_run_that_cannot_bring_them_tells_both() -> None:
    assert events([lacking("failed", "haproxy")]) == ["failed", "fixes_missing"]


def test_the_end_of_a_rollover_and_its_halt_are_notified_once() -> None:
    done = ended("rolled_over", action="rollover", image_id="i")
    halted = ended("halted", action="rollover", image_id="i", halted=True)
    found = ended("halted", action="rollover", image_id="i")
    assert events([done]) == ["rolled_over"]
    assert events([halted, found, found]) == ["halted"]
    assert events([ended("unchanged", action="rollover", image_id="i")]) == []
