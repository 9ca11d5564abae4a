from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retrofit import run_logs
from retrofit.errors import BuildError, ConfigError
from retrofit.report import RunReport, worst_exit_code
from retrofit.run_logs import (
    REPORT,
    STORY,
    events,
    find_run,
    keep_story,
    prune,
    read_report,
    reports,
    run_directories,
    story_kept,
    write_report,
)


def finished(logs: Path, number: int, outcome: str, *, target: str = "default") -> RunReport:
    run_id = f"20261122T1200{number:02}Z-abcdef"
    report = RunReport(run_id=run_id, target=target, log_dir=logs / run_id)
    report.outcome = outcome  # type: ignore[assignment]
    write_report(report)
    return report


def test_reports_come_newest_first_and_broken_ones_are_passed_over(tmp_path: Path) -> None:
    for number in (1, 3, 2):
        finished(tmp_path, number, "published")
    broken = tmp_path / "20261122T120004Z-abcdef"
    broken.mkdir()
    (broken / "report.json").write_text("{")
    assert [report["run_id"][11:13] for report in reports(tmp_path)] == ["00", "00", "00"]
    assert [report["run_id"][13:15] for report in reports(tmp_path)] == ["03", "02", "01"]


def test_of_a_report_all_that_is_relied_on_is_there_in_its_form(tmp_path: Path) -> None:
    little = {"run_id": "r", "target": "t", "outcome": "failed", "started_at": "2026-11-22T12:00"}
    steps = [
        {"name": "build", "seconds": 2.5},
        {"name": "fetch", "seconds": float("inf")},
        {"name": "verify"},
        "upload",
    ]
    for odd in ({}, {"steps": steps, "source": "?", "reasons": "x", "error": ["e"]}):
        (tmp_path / REPORT).write_text(json.dumps({**little, **odd, "later": 1}))
        report = read_report(tmp_path)
        assert report is not None
        assert report["steps"] == ([{"name": "build", "seconds": 2.5}] if odd else [])
        assert (report["source"], report["reasons"], report["error"]) == (None, [], None)
        assert report["later"] == 1


@pytest.mark.parametrize("key", ["run_id", "target", "outcome", "started_at"])
def test_what_says_no_run_is_no_report(tmp_path: Path, key: str) -> None:
    report = finished(tmp_path, 1, "published")
    file = report.log_dir / REPORT
    file.write_text(json.dumps({**json.loads(file.read_text()), key: None}))
    assert read_report(report.log_dir) is None


def test_idle_runs_never_push_out_the_logs_of_those_that_worked(tmp_path: Path) -> None:
    finished(tmp_path, 1, "failed")
    for number in range(2, 30):
        finished(tmp_path, number, "unchanged")
    foreign = tmp_path / "lost+found"
    foreign.mkdir()
    prune(tmp_path, keep=3)
    assert [report["outcome"] for report in reports(tmp_path)] == ["unchanged", "failed"]
    assert foreign.is_dir()


def test_keeps_as_many_as_configured(tmp_path: Path) -> None:
    for number in range(9):
        finished(tmp_path, number, "failed")
    prune(tmp_path, keep=4)
    assert len(list(reports(tmp_path))) == 4


def test_report_has_the_keys_that_others_rely_on(tmp_path: Path) -> None:
    report = finished(tmp_path, 1, "failed")
    report.fail(BuildError("no space", hint="free some"))
    with report.step("plan"):
        pass
    document = json.loads(json.dumps(report.as_dict()))
    assert {
        "run_id", "outcome", "reasons", "source", "image_id", "promoted", "demoted", "retired",
        "swept", "steps", "error", "log_dir",
    } <= document.keys()  # fmt: skip
    assert document["error"] == {"code": "build", "message": "no space", "hint": "free some"}
    assert document["steps"] == [{"name": "plan", "seconds": 0.0}]


def test_exit_code_is_that_of_the_first_real_failure(tmp_path: Path) -> None:
    good, bad = finished(tmp_path, 1, "published"), finished(tmp_path, 2, "failed")
    bad.fail(BuildError("x"))
    assert worst_exit_code([good]) == 0
    assert worst_exit_code([good, bad]) == 5


def numbers(logs: Path) -> list[int]:
    return sorted(int(directory.name[13:15]) for directory in run_directories(logs))


@pytest.mark.parametrize("outcome", ["unchanged", "paused", "waiting"])
def test_of_idle_runs_each_target_keeps_its_last(tmp_path: Path, outcome: str) -> None:
    for number in range(1, 7):
        finished(tmp_path, number, outcome, target="north" if number % 2 else "south")
    finished(tmp_path, 7, "published", target="north")
    prune(tmp_path, keep=1)
    assert numbers(tmp_path) == [5, 6, 7]


def test_sweeps_the_report_that_a_killed_run_was_writing(tmp_path: Path) -> None:
    killed = finished(tmp_path, 1, "published").log_dir
    (killed / REPORT).rename(killed / f".{REPORT}.4711")
    with (killed / f".{REPORT}.4712").open("w") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        prune(tmp_path, keep=1)
    assert [path.name for path in killed.iterdir()] == [f".{REPORT}.4712"]


def test_prunes_no_run_that_is_going_on_among_the_newest(tmp_path: Path) -> None:
    going_on = tmp_path / "20261122T120009Z-abcdef"
    going_on.mkdir()
    for number in range(1, 9):
        finished(tmp_path, number, "unchanged")
    prune(tmp_path, keep=1)
    assert numbers(tmp_path) == [8, 9]


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"outcome": []}', '{"outcome": {}}'])
def test_a_report_that_nobody_can_read_breaks_nothing(tmp_path: Path, content: str) -> None:
    finished(tmp_path, 1, "published")
    (tmp_path / "20261122T120001Z-abcdef" / REPORT).write_text(content)
    finished(tmp_path, 2, "unchanged")
    prune(tmp_path, keep=5)
    assert numbers(tmp_path) == [1, 2]
    assert next(reports(tmp_path))["outcome"] == "unchanged"


def test_a_report_is_none_while_the_run_goes_on(tmp_path: Path) -> None:
    assert read_report(tmp_path) is None


def test_finds_a_run_by_its_id_its_beginning_or_as_the_last(tmp_path: Path) -> None:
    first, second = (finished(tmp_path, number, "published") for number in (1, 2))
    assert find_run(tmp_path, first.run_id) == first.log_dir
    assert find_run(tmp_path, "20261122T120001Z") == first.log_dir
    assert find_run(tmp_path, "last") == second.log_dir
    longer = tmp_path / f"{first.run_id}0"
    longer.mkdir()
    assert find_run(tmp_path, first.run_id) == first.log_dir


@pytest.mark.parametrize(
    ("name", "message"),
    [("2026", "several runs begin with 2026"), ("1999", "no logs of run 1999")],
)
def test_says_why_it_finds_no_run(tmp_path: Path, name: str, message: str) -> None:
    for number in (1, 2):
        finished(tmp_path, number, "published")
    (tmp_path / "1999-of-another-form").mkdir()
    with pytest.raises(ConfigError, match=message) as refused:
        find_run(tmp_path, name)
    assert refused.value.hint
    for where in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(ConfigError, match="no logs of run last"):
            find_run(where, "last")


def test_events_pass_over_what_was_cut_short(tmp_path: Path) -> None:
    (tmp_path / STORY).write_bytes(b'{"event": "a"}\n[]\n7\n\xff\n\n{"event": "b"}\n{"event": "c')
    assert [event["event"] for event in events(tmp_path)] == ["a", "b"]
    assert list(events(tmp_path / "nowhere")) == []


def at(logs: Path, when: datetime, *, outcome: str = "failed") -> Path:
    run_id = f"{when:%Y%m%dT%H%M%SZ}-abcdef"
    report = RunReport(run_id=run_id, target="default", log_dir=logs / run_id)
    report.outcome = outcome  # type: ignore[assignment]
    write_report(report)
    return report.log_dir


def test_runs_of_a_clock_that_was_ahead_are_the_first_to_go(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ahead = [at(tmp_path, now + timedelta(days=3650, seconds=second)) for second in range(3)]
    since = [at(tmp_path, now - timedelta(seconds=second)) for second in (20, 10, 0)]
    assert run_directories(tmp_path) == [*reversed(since), *reversed(ahead)]
    assert find_run(tmp_path, "last") == since[-1]
    prune(tmp_path, keep=4)
    assert run_directories(tmp_path) == [*reversed(since), ahead[-1]]


def test_a_clock_that_was_set_back_takes_no_order_from_the_runs_before(tmp_path: Path) -> None:
    now = datetime.now(UTC) + timedelta(days=3650)
    runs = [at(tmp_path, now + timedelta(seconds=second)) for second in range(4)]
    prune(tmp_path, keep=2)
    assert run_directories(tmp_path) == [runs[3], runs[2]]


def test_logs_of_what_was_verified_by_hand_are_bounded_too(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"verify-20261122T12000{number}Z-abcdef").mkdir()
    finished(tmp_path, 1, "published")
    prune(tmp_path, keep=2)
    assert sorted(path.name[-9:-7] for path in tmp_path.glob("verify-*")) == ["3Z", "4Z"]
    assert numbers(tmp_path) == [1]


def test_a_story_without_end_is_cut_short_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_logs, "LARGEST_STORY", 1000)
    with story_kept(tmp_path):
        for number in range(100):
            keep_story(None, "info", {"event": f"event {number}"})
    assert (tmp_path / STORY).stat().st_size < 1100
    told = [event["event"] for event in events(tmp_path)]
    assert told[0] == "event 0"
    assert told[-1] == "story too long, the rest of it is not kept"
    assert len(told) < 100


def test_a_report_killed_half_way_leaves_the_one_before(tmp_path: Path) -> None:
    report = finished(tmp_path, 1, "published")
    report.outcome = "failed"
    child = os.fork()
    if child == 0:
        os.fsync = lambda _: os._exit(137)  # type: ignore[assignment]
        write_report(report)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
    before = read_report(report.log_dir)
    assert before is not None
    assert before["outcome"] == "published"
    write_report(report)
    assert [path.name for path in report.log_dir.iterdir()] == [REPORT]
