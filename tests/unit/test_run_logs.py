from __future__ import annotations

import json
from pathlib import Path

from retrofit.errors import BuildError
from retrofit.report import RunReport, worst_exit_code
from retrofit.run_logs import prune, reports, write_report


def finished(logs: Path, number: int, outcome: str) -> RunReport:
    run_id = f"20261122T1200{number:02}Z-abcdef"
    report = RunReport(run_id=run_id, target="default", log_dir=logs / run_id)
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
