"""A process that is killed while it writes a record leaves the one before."""

from __future__ import annotations

import os
from pathlib import Path

from retrofit.runs import store
from retrofit.runs.directory import REPORT, read_report, write_report
from tests.unit.runs.test_directory import finished


def test_a_write_killed_half_way_leaves_the_old_record(tmp_path: Path) -> None:
    path = store.directory_of(tmp_path, "default") / "paused.json"
    store.write(path, {"count": 1})
    child = os.fork()
    if child == 0:
        Path.replace = lambda *_: os._exit(137)  # type: ignore[method-assign,assignment]
        store.write(path, {"count": 2})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
    assert store.read(path) == {"count": 1}
    assert len(list(path.parent.iterdir())) == 2, "it was killed before it could clean up"
    store.write(path.with_name("another.json"), {"count": 3})
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["another.json", "paused.json"]


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
    assert before.outcome == "published"
    write_report(report)
    assert [path.name for path in report.log_dir.iterdir()] == [REPORT]
