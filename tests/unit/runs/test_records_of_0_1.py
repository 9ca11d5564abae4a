"""What 0.1.0 wrote into paths.state and paths.logs is read, in the words of today.

The records are as its own writers left them (release 0.1.0, commit ee4ff39), shortened.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import NotifySettings, Settings, Target
from retrofit.notify import Outbox, record_end_of_run
from retrofit.plan import Inventory
from retrofit.runs import history, pauses
from retrofit.runs.directory import read_report, reports
from retrofit.runs.events import events
from retrofit.runs.failures import last_failure
from retrofit.runs.history import read_history, write_history
from retrofit.status import look
from scheduler.last_runs import last_runs
from scheduler.only_worker import only_worker
from tests.unit.status import scenes

IMAGE = "7f3c2a10-98d1-4b7e-a7a5-3d0f5f2f9a11"
ERROR = {
    "code": "verify",
    "message": "the image is not a working amphora: haproxy: not there",
    "hint": "the evidence is in /var/log/retrofit",
}
REPORT: dict[str, Any] = {
    "run_id": "20261120T010000Z-0a1b2c",
    "target": "default",
    "action": "run",
    "outcome": "published",
    "reasons": ["new source version 20261115 (was 20261030)"],
    "notes": [],
    "source": {"id": "c0ff", "product": "com.ubuntu.cloud:server:24.04:amd64", "version": "2026"},
    "trust": "signed",
    "image_id": IMAGE,
    "image_created_at": "2026-08-01T00:00:00+00:00",
    "promoted": [IMAGE],
    "demoted": [],
    "retired": [],
    "swept": ["1b9e77c4-02aa-4f52-8f0e-6f1f0a4b2c33"],
    "started_at": "2026-11-20T09:00:00+00:00",
    "seconds": 313.5,
    "steps": [
        {"name": "plan", "seconds": 0.8},
        {"name": "sweep", "seconds": 0.2},
        {"name": "build", "seconds": 312.5},
    ],
    "verification": {
        "how": "boot-kvm",
        "passed": True,
        "facts": {"haproxy_version": "2.8.5"},
        "checks": [{"name": "haproxy", "outcome": "passed", "detail": "2.8.5", "seconds": 0.0}],
    },
    "error": None,
    "log_dir": "/var/log/retrofit/20261120T010000Z-0a1b2c",
}
HELD_BACK = {
    **REPORT,
    "run_id": "20261120T020000Z-0a1b2c",
    "outcome": "waiting",
    "reasons": [],
    "promoted": [],
    "swept": [],
    "started_at": "2026-11-20T10:00:00+00:00",
    "seconds": 0,
    "steps": [],
    "verification": None,
    "error": ERROR,
}
CHRONICLE = {
    "version": 1,
    "epoch": "6666e9d2",
    "told": 3,
    "runs": {"published": 1, "waiting": 2, "busy": 4},
    "seconds": {"plan": 0.8, "sweep": 0.2, "build": 312.5},
    "last_run_at": "2026-11-20T10:00:00+00:00",
    "last_outcome": "waiting",
    "last_success_at": "2026-11-20T09:05:13+00:00",
    "failing_since": "2026-11-20T10:00:00+00:00",
    "image_id": IMAGE,
    "image_created_at": "2026-08-01T00:00:00+00:00",
    "too_old": IMAGE,
}
FAILED_BUILD = {
    "version": 1,
    "inputs": "p v h r",
    "count": 2,
    "last_at": "2026-11-20T10:00:00+00:00",
    "code": "verify",
    "message": ERROR["message"],
    "run_id": "20261120T020000Z-0a1b2c",
}
PAUSED = {
    "version": 1,
    "reason": "moving racks",
    "since": "2026-11-20T08:00:00+00:00",
    "by": "ops@c1",
    "until": None,
}
LETTER: dict[str, Any] = {
    "version": 1,
    "change": {
        "id": "c1/default/6666e9d2-2",
        "event": "too_old",
        "at": "2026-11-20T09:05:13+00:00",
        "target": "default",
        "host": "c1",
        "run_id": "20261120T010000Z-0a1b2c",
        "action": "run",
        "summary": f"target default: the promoted image {IMAGE} is 117 days old",
        "image_id": IMAGE,
        "image_created_at": "2026-08-01T00:00:00+00:00",
        "error": ERROR,
        "log_dir": "/var/log/retrofit/20261120T010000Z-0a1b2c",
        "retrofit_version": "0.1.0",
    },
    "to": ["webhook"],
    "attempts": 3,
    "next_try": "2026-11-20T09:05:17.250000+00:00",
    "last_error": "webhook: the receiver answered 500",
}
SCHEDULE = {
    "version": 1,
    "pid": 1,
    "updated_at": "2026-11-20T10:00:00+00:00",
    "targets": {
        "default": {
            "next_run": "2026-11-20T11:00:00+00:00",
            "trigger": "every 3600 s",
            "running_since": None,
        }
    },
}


@pytest.fixture
def left(tmp_path: Path) -> Settings:
    """The settings of a machine on which 0.1.0 ran."""
    settings = scenes.settings(tmp_path)
    state, logs = settings.paths.state, settings.paths.logs
    records = {
        state / "schedule.json": SCHEDULE,
        state / "targets/default/chronicle.json": CHRONICLE,
        state / "targets/default/failed-build.json": FAILED_BUILD,
        state / "targets/default/paused.json": PAUSED,
        state / "targets/default/outbox/00000002-6666e9d2.json": LETTER,
        logs / REPORT["run_id"] / "report.json": REPORT,
        logs / HELD_BACK["run_id"] / "report.json": HELD_BACK,
    }
    for path, record in records.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n")
    return settings


def test_reports_are_read_and_say_it_in_the_words_of_today(left: Settings) -> None:
    held_back, published = reports(left.paths.logs)
    assert (published.outcome, held_back.outcome) == ("published", "backoff")
    assert published.cleaned_up == ("1b9e77c4-02aa-4f52-8f0e-6f1f0a4b2c33",)
    assert held_back.is_failure
    steps = [
        {**step, "name": "clean-up"} if step["name"] == "sweep" else step
        for step in REPORT["steps"]
    ]
    nothing = ("by", "host", "version", "order", "emergency")
    added: dict[str, Any] = {
        "adopted": [],
        "packages": [],
        "missing_fixes": None,
        "load_balancers": [],
        "halted": False,
        **dict.fromkeys(nothing),
    }
    expected = {**REPORT, "cleaned_up": REPORT["swept"], **added, "steps": steps}
    del expected["swept"]
    assert published.as_dict() == expected
    started = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
    assert last_runs(left) == {"default": started}


def test_a_run_that_another_one_kept_out_is_locked(left: Settings, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({**REPORT, "outcome": "busy"}))
    report = read_report(tmp_path)
    assert report is not None
    assert report.outcome == "locked"


def test_the_chronicle_is_the_history_until_one_is_written(left: Settings) -> None:
    state = left.paths.state
    read = read_history(state, "default")
    assert (read.sequence_id, read.sequence_number) == ("6666e9d2", 3)
    assert read.run_counts == {"published": 1, "backoff": 2, "locked": 4}
    assert read.step_seconds == {"plan": 0.8, "clean-up": 0.2, "build": 312.5}
    assert read.last_outcome == "backoff"
    assert read.failing_since == datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
    assert (read.image_id, read.stale_image_id) == (IMAGE, IMAGE)
    write_history(state, "default", read)
    assert read_history(state, "default") == read
    assert not (state / "targets/default" / history.OLD_FILE).exists()
    # Where 0.1.0 ran once more in between, its record is the older one.
    (state / "targets/default" / history.OLD_FILE).write_text(json.dumps({**CHRONICLE, "told": 1}))
    assert read_history(state, "default") == read


@pytest.mark.parametrize("changed", [{"told": -1}, {"runs": 7}, {"epoch": None}, {"seconds": "x"}])
def test_a_damaged_chronicle_is_none(left: Settings, changed: dict[str, Any]) -> None:
    path = left.paths.state / "targets/default/chronicle.json"
    path.write_text(json.dumps({**CHRONICLE, **changed}))
    read = read_history(left.paths.state, "default")
    assert (read.sequence_number, read.run_counts) == (0, {})
    assert read.sequence_id != "6666e9d2"


def test_a_failure_that_was_notified_then_is_not_notified_again(
    left: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr("retrofit.notify.delivery.deliver_in_time", lambda *_: started.append(1))
    settings = left.model_copy(update={"notify": NotifySettings(url="http://127.0.0.1:9/")})
    record_end_of_run(scenes.report("failed", image_id=IMAGE), settings)
    record_end_of_run(scenes.report("unchanged", image_id=IMAGE), settings)
    (queue,) = Outbox(left.paths.state).queues()
    assert [each.notification.event for each in queue.values()] == ["stale", "recovered"]
    assert [each.id.rpartition("/")[2] for each in queue.values()] == ["6666e9d2-2", "6666e9d2-4"]
    assert started == [1, 1]


def test_a_queued_notification_is_delivered_in_the_words_of_today(left: Settings) -> None:
    (queue,) = Outbox(left.paths.state).queues()
    (queued,) = queue.values()
    assert (queued.to, queued.attempts) == (("webhook",), 3)
    assert queued.next_try == datetime(2026, 11, 20, 9, 5, 17, 250000, tzinfo=UTC)
    document = queued.notification.as_dict()
    assert document.pop("failing_since") is None
    assert document.pop("by") is None
    assert document.pop("text") == ""
    assert document == {**LETTER["change"], "event": "stale"}


def test_backoff_pause_and_timetable_are_read(left: Settings) -> None:
    failed = last_failure(left.paths.state, "default")
    assert failed is not None
    assert (failed.count, failed.inputs) == (2, "p v h r")
    target = Target(name="default")
    pause = pauses.pause_of(
        Inventory(images=(), own_project="own", now=scenes.NOW), target, left.paths.state
    )
    assert pause is not None
    assert (pause.reason, pause.by, pause.until) == ("moving racks", "ops@c1", None)
    assert look(left)["default"].schedule is None  # its worker is gone
    with only_worker(left.paths.state):
        schedule = look(left)["default"].schedule
    assert schedule is not None
    assert schedule.next_run == datetime(2026, 11, 20, 11, 0, tzinfo=UTC)


def test_events_of_a_run_are_read_under_their_old_name(tmp_path: Path) -> None:
    event = {"event": "step begun", "step": "build", "target": "default"}
    (tmp_path / "story.jsonl").write_text(json.dumps(event) + "\n")
    assert list(events(tmp_path)) == [event]
    (tmp_path / "events.jsonl").write_text('{"event": "step started"}\n')
    assert [each["event"] for each in events(tmp_path)] == ["step started"]
