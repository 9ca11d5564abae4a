"""What a guard of the operator answers, and what comes of no answer: a reason not to move."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from retrofit.config.rollover import GuardSettings
from retrofit.operations.rollover.guard import ask_guard
from tests.answering import answering

ASKED = 'ALERTS{alertstate="firing"}'


def firing(*names: str) -> dict[str, Any]:
    """Return what Prometheus answers to a query of its series ALERTS, an instant vector."""
    metrics = [{"__name__": "ALERTS", "alertname": name, "alertstate": "firing"} for name in names]
    result = [{"metric": metric, "value": [1795770000.781, "1"]} for metric in metrics]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


class Prometheus(HTTPServer):
    """Answers each query as it is told to, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Api)
        self.status, self.body = 200, b""
        self.headers: dict[str, str] = {}
        self.delay = 0.0
        self.pause = 0.0
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, body: object, status: int = 200, **headers: str) -> None:
        self.status, self.headers = status, headers
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


class Api(BaseHTTPRequestHandler):
    server: Prometheus

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        time.sleep(self.server.delay)
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        with suppress(ConnectionError):
            if not self.server.pause:
                self.wfile.write(self.server.body)
                return
            for byte in self.server.body:
                self.wfile.write(bytes([byte]))
                time.sleep(self.server.pause)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    with Prometheus() as server, answering(server):
        yield server


def ask(address: str, **settings: Any) -> str | None:
    return ask_guard(GuardSettings(prometheus=address, **settings), {})


def test_is_quiet_where_no_alert_fires_and_names_those_that_do(prometheus: Prometheus) -> None:
    prometheus.answer(firing())
    assert ask(prometheus.address) is None
    url = urlsplit(prometheus.asked[0])
    assert (url.path, parse_qs(url.query)) == ("/api/v1/query", {"query": [ASKED]})
    prometheus.answer(firing("NodeDown"))
    assert ask(prometheus.address) == "alert fires: NodeDown (rollover.guard.alerts)"
    prometheus.answer(firing("E", "D", "C", "B", "A", "A"))
    assert ask(prometheus.address) == "alerts fire: A, B, C and 2 more (rollover.guard.alerts)"


def test_only_alerts_of_the_whole_expression_count(prometheus: Prometheus) -> None:
    prometheus.answer(firing("OctaviaDown", "Watchdog"))
    assert ask(prometheus.address, alerts="Octavia") is None
    reason = ask(prometheus.address, alerts="Octavia.*")
    assert reason == "alert fires: OctaviaDown (rollover.guard.alerts)"
    assert ask(prometheus.address, alerts="(?!Watchdog|Octavia).*") is None


def test_an_address_may_have_a_path(prometheus: Prometheus) -> None:
    prometheus.answer(firing())
    assert ask(f"{prometheus.address}/prometheus/") is None
    assert prometheus.asked[0].startswith("/prometheus/api/v1/query?")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 200),
        (b"<html>Sign in</html>", 200),
        (b"\xff\xfe\x00", 200),
        ([], 200),
        (None, 200),
        ("success", 200),
        ({}, 200),
        ({"status": "error", "errorType": "timeout", "error": "query timed out"}, 200),
        ({"status": "success"}, 200),
        ({"status": "success", "data": None}, 200),
        ({"status": "success", "data": {"result": None}}, 200),
        ({"status": "success", "data": {"result": [None]}}, 200),
        ({"status": "success", "data": {"result": [{"metric": {}}]}}, 200),
        ({"status": "success", "data": {"result": [{"metric": "ALERTS"}]}}, 200),
        (b"[" * 200_000, 200),
        (firing(), 401),
        (firing(), 404),
        (firing(), 500),
        (firing(), 503),
    ],
)
def test_an_answer_that_is_none_is_a_reason(
    prometheus: Prometheus, body: object, status: int
) -> None:
    prometheus.answer(body, status)
    assert "cannot be asked" in str(ask(prometheus.address))


@pytest.mark.parametrize("status", [204, 301, 302])
def test_an_answer_from_elsewhere_or_without_content_is_a_reason(
    prometheus: Prometheus, status: int
) -> None:
    with Prometheus() as elsewhere, answering(elsewhere):
        elsewhere.answer(firing())
        prometheus.answer(b"", status, Location=f"{elsewhere.address}/api/v1/query")
        assert "cannot be asked" in str(ask(prometheus.address))
        assert elsewhere.asked == []


def test_one_that_is_late_or_not_there_is_a_reason(prometheus: Prometheus) -> None:
    prometheus.answer(firing())
    for prometheus.delay, prometheus.pause in ((2, 0), (0, 0.04)):
        began = time.monotonic()
        assert "cannot be asked" in str(ask(prometheus.address, timeout=1))
        assert time.monotonic() - began < 1.8
    with Prometheus() as gone:
        address = gone.address
    assert "cannot be asked (ConnectionError)" in str(ask(address))


WORKER = """
import sys
from retrofit.config.rollover import GuardSettings
from retrofit.operations.rollover.guard import ask_guard

print(ask_guard(GuardSettings(command=(sys.argv[1], sys.argv[2]), timeout=100), {}))
"""


def test_a_command_ends_with_a_killed_rollover(tmp_path: Path) -> None:
    guard, pid_file = tmp_path / "guard", tmp_path / "pid"
    guard.write_text('#!/bin/sh\necho $$ > "$1.new"; mv "$1.new" "$1"; exec sleep 60\n')
    guard.chmod(0o755)
    with subprocess.Popen([sys.executable, "-c", WORKER, guard, pid_file]) as rollover:
        deadline = time.monotonic() + 30
        while not pid_file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        rollover.kill()
    stat = Path(f"/proc/{int(pid_file.read_text())}/stat")
    deadline = time.monotonic() + 20
    while stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < deadline, "the guard goes on"
        time.sleep(0.05)


def test_a_command_that_cannot_start_or_fails_is_a_reason(tmp_path: Path) -> None:
    lacks, fails = tmp_path / "lacks", tmp_path / "fails"
    lacks.write_text("#!/nowhere/interpreter\n")
    lacks.chmod(0o755)
    fails.write_text('#!/bin/sh\necho "a backup runs" >&2\nexit 1\n')
    fails.chmod(0o755)
    for command, reason in ((lacks, f"cannot start {lacks}: not found"), (fails, "a backup runs")):
        settings = GuardSettings(command=(str(command),))
        assert ask_guard(settings, {}) == f"rollover.guard.command: {reason}"
