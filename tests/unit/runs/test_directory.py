from __future__ import annotations

import fcntl
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retrofit.errors import BuildError, ConfigError
from retrofit.runs.directory import (
    REPORT,
    find_run,
    prune,
    read_report,
    reports,
    run_directories,
    write_report,
)
from retrofit.runs.report import Move, RunReport, worst_exit_code
from retrofit.runs.report_document import StepDocument


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
    assert [report.run_id[11:13] for report in reports(tmp_path)] == ["00", "00", "00"]
    assert [report.run_id[13:15] for report in reports(tmp_path)] == ["03", "02", "01"]


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
        assert report.steps == ((StepDocument(name="build", seconds=2.5),) if odd else ())
        assert (report.source, report.reasons, report.error) == (None, (), None)


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
    assert [report.outcome for report in reports(tmp_path)] == ["unchanged", "failed"]
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
    document = json.loads(json.dumps(report.document().as_dict()))
    assert {
        "run_id", "outcome", "reasons", "source", "image_id", "promoted", "demoted", "retired",
        "cleaned_up", "steps", "error", "log_dir",
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


@pytest.mark.parametrize("outcome", ["unchanged", "paused", "backoff"])
def test_of_idle_runs_each_target_keeps_its_last(tmp_path: Path, outcome: str) -> None:
    for number in range(1, 7):
        finished(tmp_path, number, outcome, target="north" if number % 2 else "south")
    finished(tmp_path, 7, "published", target="north")
    prune(tmp_path, keep=1)
    assert numbers(tmp_path) == [5, 6, 7]


def acted(
    logs: Path, number: int, action: str, *, outcome: str = "failed", target: str = "default"
) -> RunReport:
    report = finished(logs, number, outcome, target=target)
    report.action = action  # type: ignore[assignment]
    write_report(report)
    return report


@pytest.mark.parametrize("action", ["rollover", "repair"])
def test_what_fails_every_few_minutes_pushes_out_no_run(tmp_path: Path, action: str) -> None:
    finished(tmp_path, 1, "published")
    finished(tmp_path, 2, "unchanged")
    for number in range(3, 30):
        acted(tmp_path, number, action, target="north" if number % 2 else "default")
    prune(tmp_path, keep=2)
    assert numbers(tmp_path) == [1, 2, 28, 29]


def test_a_failed_rollover_that_moved_or_halted_is_kept_as_a_run_is(tmp_path: Path) -> None:
    moved, halted = acted(tmp_path, 1, "rollover"), acted(tmp_path, 2, "rollover")
    moved.moves.append(Move(id="lb", name="", outcome="failed", reason="", seconds=0.0))
    halted.halted = True
    promoted = acted(tmp_path, 3, "repair")
    promoted.promoted.append("image")
    for report in (moved, halted, promoted):
        write_report(report)
    for number in (4, 5, 6):
        acted(tmp_path, number, "rollover")
    for number, (action, outcome) in enumerate(
        [("rollover", "rolled_over"), ("rollback", "failed"), ("pause", "failed")], start=7
    ):
        acted(tmp_path, number, action, outcome=outcome)
    prune(tmp_path, keep=6)
    assert numbers(tmp_path) == [1, 2, 3, 6, 7, 8, 9]


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
    assert next(reports(tmp_path)).outcome == "unchanged"


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


def test_the_last_run_of_a_target_is_found_by_its_report_or_its_events(tmp_path: Path) -> None:
    for number, target in enumerate(("north", "south", "south"), start=1):
        finished(tmp_path, number, "failed", target=target)
    going_on = tmp_path / "20261122T120004Z-abcdef"
    going_on.mkdir()
    event = {"event": "step started", "target": "east"}
    (going_on / "events.jsonl").write_text(json.dumps(event) + "\n")
    assert find_run(tmp_path, "last") == going_on
    assert find_run(tmp_path, "last", {"east"}) == going_on
    assert find_run(tmp_path, "last", {"north"}).name[13:15] == "01"
    assert find_run(tmp_path, "last", {"north", "south"}).name[13:15] == "03"
    with pytest.raises(ConfigError, match="there are no logs of run last"):
        find_run(tmp_path, "last", {"west"})
    with pytest.raises(ConfigError, match="there are no logs"):
        find_run(tmp_path, "20261122T120001Z", {"south"})
