from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from retrofit import terminal


def test_a_log_gets_each_phrase_once_in_a_while_whatever_its_detail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    progress = terminal.logged_progress()
    with capture_logs() as logged:
        for line in range(100):
            progress(f"waiting for the agent: line {line}", None)
        progress("building", 0.5)
        now += terminal.QUIET_SECONDS
        progress("waiting for the agent: still", None)
    assert [entry["doing"] for entry in logged] == [
        "waiting for the agent: line 0",
        "building",
        "waiting for the agent: still",
    ]
    assert logged[1]["percent"] == 50
