"""The frame around a run: whatever ends it, its report is left."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from retrofit import run_logs, state
from retrofit.config import PathSettings, Settings, Target
from retrofit.interrupts import interruptible
from retrofit.recorded import recorded
from retrofit.report import RunReport


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    paths = {key: tmp_path / key for key in ("state", "cache", "work", "logs")}
    return Settings(targets=(Target(),), paths=PathSettings(**paths))


def test_run_that_is_stopped_while_it_writes_its_report_leaves_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text = state.write_text

    def stopped_first(path: Path, text: str) -> None:
        if path.name == run_logs.REPORT:
            os.kill(os.getpid(), signal.SIGTERM)
        write_text(path, text)

    def work(report: RunReport) -> None:
        report.outcome = "unchanged"

    monkeypatch.setattr(state, "write_text", stopped_first)
    with pytest.raises(KeyboardInterrupt), interruptible():
        recorded(settings.targets[0], settings, "run", work)
    (report,) = settings.paths.logs.glob("*/report.json")
    assert json.loads(report.read_text())["outcome"] == "unchanged"
