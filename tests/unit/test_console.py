from __future__ import annotations

import json
import logging
import sys

import pytest
import structlog
from structlog.testing import capture_logs

from retrofit import terminal


def test_a_log_hears_of_progress_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    progress = terminal.logged_progress()
    with capture_logs() as logged:
        for line in range(100):
            progress(f"waiting for the agent: line {line}", None)
        progress("checking tools-installed", 0.5)
        now += terminal.QUIET_SECONDS
        progress("checking machine-id", 0.5)
    assert [entry["doing"] for entry in logged] == [
        "waiting for the agent: line 0",
        "checking machine-id",
    ]
    assert logged[1]["percent"] == 50


def test_what_a_library_warns_of_is_an_event_like_any_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    before = structlog.get_config()
    try:
        terminal.configure_logging(verbose=False)
        logging.getLogger("kazoo.client").warning("Connection dropped: %s", "refused")
        logging.getLogger("kazoo.client").info("nobody wants to know")
    finally:
        structlog.configure(**before)
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["library"], event["said"]) == ("kazoo.client", "Connection dropped: refused")


def test_a_terminal_is_told_names_without_their_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    before = structlog.get_config()
    try:
        terminal.configure_logging(verbose=False)
        structlog.get_logger().info("image passed over", name="\x1b]0;x\x07", all=["\u202e"])
    finally:
        structlog.configure(**before)
    told = capsys.readouterr().err
    assert "\\x1b]0;x\\x07" in told
    assert "\x1b]" not in told
    assert "\u202e" not in told
