from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from retrofit import console


def test_a_log_hears_of_progress_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    progress = console.logged_progress()
    with capture_logs() as logged:
        for line in range(100):
            progress(f"waiting for the agent: line {line}", None)
        progress("checking tools-installed", 0.5)
        now += console.QUIET_SECONDS
        progress("checking machine-id", 0.5)
    assert [entry["doing"] for entry in logged] == [
        "waiting for the agent: line 0",
        "checking machine-id",
    ]
    assert logged[1]["percent"] == 50


def test_what_libraries_tell_their_developers_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    before = structlog.get_config()
    try:
        with warnings.catch_warnings(record=True) as shown:
            warnings.resetwarnings()
            console.configure_logging(verbose=False)
            warnings.warn("serial number of a certificate is negative", UserWarning, stacklevel=1)
    finally:
        structlog.configure(**before)
    assert not shown


def test_what_a_library_warns_of_is_an_event_like_any_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    before = structlog.get_config()
    try:
        console.configure_logging(verbose=False)
        logging.getLogger("kazoo.client").warning("Connection dropped: %s", "refused")
        logging.getLogger("kazoo.client").info("nobody wants to know")
    finally:
        structlog.configure(**before)
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["library"], event["message"]) == ("kazoo.client", "Connection dropped: refused")


def test_a_terminal_is_told_names_without_their_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    before = structlog.get_config()
    try:
        console.configure_logging(verbose=False)
        structlog.get_logger().info("image passed over", name="\x1b]0;x\x07", all=["\u202e"])
    finally:
        structlog.configure(**before)
    told = capsys.readouterr().err
    assert "\\x1b]0;x\\x07" in told
    assert "\x1b]" not in told
    assert "\u202e" not in told


def test_the_journal_gets_priorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`journalctl -p err` shows errors, then."""
    with (tmp_path / "journal").open("w+") as stderr:
        ours = os.fstat(stderr.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{ours.st_dev}:{ours.st_ino}")
        monkeypatch.setattr(sys, "stderr", stderr)
        before = structlog.get_config()
        try:
            console.configure_logging(verbose=False)
            structlog.get_logger().info("image promoted")
            structlog.get_logger().error("run ended")
        finally:
            structlog.configure(**before)
        stderr.seek(0)
        first, second = stderr.read().splitlines()
    assert (first[:3], second[:3]) == ("<6>", "<3>")
    assert json.loads(second[3:])["event"] == "run ended"


def test_every_step_of_a_run_has_words_for_a_terminal() -> None:
    sources = (Path(console.__file__).parent).rglob("*.py")
    steps = {
        step
        for source in sources
        for step in re.findall(r'\.step\("([a-z-]+)"\)', source.read_text())
    }
    assert {"plan", "evidence", "retire"} <= steps
    assert steps <= console.STEPS.keys()


def test_names_are_readable_in_the_log_and_what_a_terminal_obeys_is_not() -> None:
    event = {"by": "Jürgen", "name": "a\x9b31m\u202eb\u2028\n\udcff", "city": "京都"}
    line = console.json_line(event)
    assert "Jürgen" in line
    assert "京都" in line
    assert line.isprintable()
    assert json.loads(line) == event
