"""What a machine knows of its own runs where it knows little: no lock file, a damaged timetable."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.runs.directory import write_report
from retrofit.runs.report import RunReport
from retrofit.runs.running import holder
from retrofit.status import CloudFacts, look
from retrofit.status.document import target_status
from tests.unit.status import scenes


def test_a_lock_file_that_is_not_there_is_not_locked(tmp_path: Path) -> None:
    assert holder(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 1, "pid": "x"}', '{"version": 1, "pid": 1, "targets": 3}']
)
def test_a_damaged_timetable_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    settings = scenes.settings(tmp_path)
    settings.paths.state.mkdir()
    (settings.paths.state / "schedule.json").write_text(text)
    assert look(settings)["default"].schedule is None


def written(logs: Path, number: int, action: str, outcome: str) -> str:
    run_id = f"20261122T12{number:02}00Z-abcdef"
    report = RunReport(run_id=run_id, target="default", log_dir=logs / run_id)
    report.action, report.outcome = action, outcome  # type: ignore[assignment]
    report.log_dir.mkdir(parents=True)
    write_report(report)
    return run_id


@pytest.mark.parametrize(
    ("action", "outcome"), [("rollover", "failed"), ("rollover", "rolled_over"), ("run", "locked")]
)
def test_the_last_run_is_known_however_much_came_after_it(
    tmp_path: Path, action: str, outcome: str
) -> None:
    settings = scenes.settings(tmp_path)
    written(settings.paths.logs, 1, "run", "unchanged")
    failed = written(settings.paths.logs, 2, "run", "failed")
    stopped = written(settings.paths.logs, 3, "run", "interrupted")
    since = [written(settings.paths.logs, number, action, outcome) for number in range(4, 20)]
    local = look(settings, runs=12)["default"]
    listed = [report.run_id for report in local.reports]
    newest = [*reversed(since[-12:])]
    runs = [failed] if action == "run" else [stopped, failed]
    assert listed == [*newest, *runs]
    assert local.files.keys() == set(listed)
    status = target_status(settings.targets[0], settings, CloudFacts(), local, now=scenes.NOW)
    assert "failed" in status.states
    assert status.last_run is not None
    assert status.last_run.run_id == (newest[0] if action == "run" else stopped)
