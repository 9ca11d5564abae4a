"""The status page over HTTP: read-only, bounded, and nothing of the machine but logs of runs."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from retrofit.config import Settings, WebSettings
from scheduler.web import serving
from scheduler.web import snapshot as snapshots
from scheduler.web.app import LARGEST_LOG, Application
from scheduler.web.server import CONNECTIONS, served
from scheduler.web.snapshot import Rendering, Snapshot
from tests.integration.worker_site import eventually
from tests.unit import standings

RUN = "20261122T110000Z-a1b2c3"
PATHS = ("/", "/api/v1/status", "/api/v1/schema", "/metrics", "/healthz", "/static/style.css")


class Client:
    """Asks with exactly the bytes of path and headers that a test wants."""

    def __init__(self, address: str) -> None:
        self.host, _, port = address.removeprefix("http://").rstrip("/").rpartition(":")
        self.port = int(port)

    def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body


def settings_for(tmp_path: Path, **web: Any) -> Settings:
    return standings.settings(tmp_path).model_copy(
        update={"web": WebSettings(**{"enabled": True, "port": 0, **web})}
    )


class Shown:
    """Stands for the snapshot."""

    def __init__(self, scene: standings.Scene, **options: Any) -> None:
        self.latest = Rendering.of(standings.document(scene, **options))


@contextmanager
def client_of(settings: Settings, shown: Shown | None = None) -> Iterator[Client]:
    application = Application(shown or Shown(standings.good()), lambda: settings)
    with served(application, settings.web) as address:
        assert address is not None
        yield Client(address)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A run's log directory, beside what nobody is to see."""
    directory = tmp_path / "logs" / RUN
    directory.mkdir(parents=True)
    (directory / "build.log").write_text("<b>bold</b>\n")
    (directory / "report.json").write_text(json.dumps(standings.report("failed")))
    (directory / "sub").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "logs" / "other").mkdir()
    (tmp_path / "logs" / "other" / "file").write_text("secret")
    (directory / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "logs" / "20261122T110000Z-ffffff").symlink_to(tmp_path)
    os.mkfifo(directory / "pipe")
    return directory


@pytest.mark.parametrize("path", [*PATHS, f"/runs/{RUN}/", f"/runs/{RUN}/build.log", "/nothing"])
def test_every_answer_forbids_what_pages_are_abused_by(
    tmp_path: Path, logs: Path, path: str
) -> None:
    with client_of(settings_for(tmp_path)) as client:
        answer, body = client.ask(path)
        assert answer.status == (404 if path == "/nothing" else 200)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Server"] is None
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert int(answer.headers["Content-Length"]) == len(body)
        head, nothing = client.ask(path, "HEAD")
        assert (head.status, nothing) == (answer.status, b"")
        unlike = {"date"}
        assert {k.lower(): v for k, v in head.headers.items() if k.lower() not in unlike} == {
            k.lower(): v for k, v in answer.headers.items() if k.lower() not in unlike
        }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(tmp_path: Path, method: str) -> None:
    with client_of(settings_for(tmp_path)) as client:
        answer, _ = client.ask("/", method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_json_is_as_the_schema_that_is_served(tmp_path: Path) -> None:
    with client_of(settings_for(tmp_path)) as client:
        answer, body = client.ask("/api/v1/status")
        assert answer.headers["Content-Type"] == "application/json"
        jsonschema.validate(json.loads(body), json.loads(client.ask("/api/v1/schema")[1]))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:9817", 200),
        ("[::1]:9817", 200),
        ("LOCALHOST.", 200),
        ("status.example.com", 200),
        ("evil.example.com", 421),
        ("127.0.0.1.evil.example.com", 421),
        ("", 421),
    ],
)
def test_on_loopback_no_other_name_leads_here(tmp_path: Path, host: str, status: int) -> None:
    with client_of(settings_for(tmp_path, hosts=("status.example.com",))) as client:
        assert client.ask("/", Host=host)[0].status == status


def test_where_others_may_ask_they_may_use_any_name(tmp_path: Path) -> None:
    with client_of(settings_for(tmp_path, address="0.0.0.0")) as client:
        assert client.ask("/", Host="controller-1.example.com")[0].status == 200


@pytest.mark.parametrize(
    "path",
    [
        f"/runs/{RUN}/link",
        f"/runs/{RUN}/pipe",
        f"/runs/{RUN}/sub",
        f"/runs/{RUN}/../other/file",
        f"/runs/{RUN}/..%2fother%2ffile",
        f"/runs/{RUN}/%2e%2e/other/file",
        f"/runs/{RUN}//etc/passwd",
        f"/runs/{RUN}/.hidden",
        f"/runs/{RUN}/build.log%00.txt",
        f"/runs/{RUN}/build.log/",
        "/runs/other/file",
        "/runs/20261122T110000Z-ffffff/",
        "/runs/20261122T110000Z-ffffff/secret",
        "/runs/../secret",
        "/runs/",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "//etc/passwd",
    ],
)
def test_nothing_but_log_files_of_runs_is_read(tmp_path: Path, logs: Path, path: str) -> None:
    with client_of(settings_for(tmp_path)) as client:
        answer, body = client.ask(path)
        assert answer.status in {400, 404}
        assert b"secret" not in body


def test_logs_are_text_whatever_is_in_them(tmp_path: Path, logs: Path) -> None:
    with client_of(settings_for(tmp_path)) as client:
        answer, body = client.ask(f"/runs/{RUN}/build.log")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert body == b"<b>bold</b>\n"


def test_what_a_build_prints_is_kept_back_until_its_run_has_ended(
    tmp_path: Path, logs: Path
) -> None:
    """By then it is masked; a run that was killed never ends, and leaves no report."""
    (logs / "report.json").unlink()
    (logs / "console.log").write_text("of the trial\n")
    with client_of(settings_for(tmp_path)) as client:
        assert client.ask(f"/runs/{RUN}/build.log")[0].status == 404
        page = client.ask(f"/runs/{RUN}/")[1]
        assert b"build.log" not in page
        assert b"console.log" in page


def test_of_a_huge_log_the_end_is_served(tmp_path: Path, logs: Path) -> None:
    with (logs / "huge.log").open("wb") as file:
        file.seek(LARGEST_LOG)
        file.write(b"the end\n")
    with client_of(settings_for(tmp_path)) as client:
        answer, body = client.ask(f"/runs/{RUN}/huge.log")
        assert (answer.status, len(body)) == (200, LARGEST_LOG)
        assert body.endswith(b"the end\n")


def test_logs_are_kept_back_where_that_is_wanted(tmp_path: Path, logs: Path) -> None:
    with client_of(settings_for(tmp_path, logs=False)) as client:
        assert client.ask(f"/runs/{RUN}/")[0].status == 404
        assert client.ask(f"/runs/{RUN}/build.log")[0].status == 404


def test_a_run_without_a_report_has_a_page_even_so(tmp_path: Path, logs: Path) -> None:
    (logs / "report.json").write_text('["not a report"]')
    with client_of(settings_for(tmp_path)) as client:
        answer, body = client.ask(f"/runs/{RUN}/")
        assert answer.status == 200
        assert b"there is no report" in body
        for key in standings.report("failed"):
            for value in (None, 7, "text", ["text"], {"key": "value"}):
                damaged = {**standings.report("failed"), key: value}
                (logs / "report.json").write_text(json.dumps(damaged))
                assert client.ask(f"/runs/{RUN}/")[0].status == 200, (key, value)


def test_a_damaged_report_spoils_no_page(tmp_path: Path, logs: Path) -> None:
    settings = settings_for(tmp_path)
    for key in standings.report("failed"):
        for value in (None, 7, "text", ["text"], [{"name": 1}], {"key": "value"}):
            damaged = {**standings.report("failed"), key: value}
            (logs / "report.json").write_text(json.dumps(damaged))
            assert Snapshot(lambda: settings).latest.page, (key, value)


def test_health_is_503_and_says_why(tmp_path: Path) -> None:
    from datetime import timedelta

    shown = Shown(standings.never_run(), since=standings.NOW - timedelta(hours=40))
    with client_of(settings_for(tmp_path), shown) as client:
        answer, body = client.ask("/healthz")
        assert answer.status == 503
        assert (
            "default: no successful run since this worker began" in json.loads(body)["reasons"][0]
        )
        shown.latest = Rendering.of(standings.document(standings.good()))
        assert client.ask("/healthz")[0].status == 200


def test_health_is_503_when_nothing_is_renewed_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Shown(standings.good())
    monkeypatch.setattr(snapshots, "TOO_LATE", -1.0)
    with client_of(settings_for(tmp_path), shown) as client:
        answer, body = client.ask("/healthz")
        assert answer.status == 503
        assert "nothing new is known since" in json.loads(body)["reasons"][0]


def test_a_cloud_that_does_not_answer_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "LOOK_EVERY", 0.05)
    settings = settings_for(tmp_path)
    released = threading.Event()
    asked: list[str] = []

    def ask(target: Any, _settings: Any, **_: Any) -> Any:
        asked.append(target.name)
        released.wait(60)
        return standings.good().cloud

    with (
        Snapshot(lambda: settings, ask=ask) as snapshot,
        served(Application(snapshot, lambda: settings), settings.web) as address,
    ):
        assert address is not None
        client = Client(address)
        eventually(lambda: asked, "asking")
        with ThreadPoolExecutor(16) as readers:
            bodies = list(readers.map(lambda _: client.ask("/")[1], range(200)))
        assert all(b"has not been asked yet" in body for body in bodies)
        assert asked == ["default"]  # by the clock, not by readers
        released.set()
        eventually(lambda: standings.IMAGE.encode() in client.ask("/")[1], "the answer")


def test_a_bug_in_asking_is_shown_and_outlived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "LOOK_EVERY", 0.05)
    settings = settings_for(tmp_path)

    def ask(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("ours")

    with Snapshot(lambda: settings, ask=ask) as snapshot:
        eventually(lambda: b"ZeroDivisionError: ours" in snapshot.latest.page, "the error")
        first = snapshot.latest
        eventually(lambda: snapshot.latest is not first, "a newer rendering")


def test_stalled_and_many_connections_leave_room_for_others(tmp_path: Path) -> None:
    with client_of(settings_for(tmp_path)) as client:
        stalled = []
        try:
            for _ in range(CONNECTIONS // 2):
                connection = socket.create_connection((client.host, client.port))
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
                stalled.append(connection)
            with ThreadPoolExecutor(16) as readers:
                answers = readers.map(lambda _: client.ask("/metrics")[0].status, range(100))
                assert set(answers) == {200}
        finally:
            for connection in stalled:
                connection.close()


@pytest.mark.parametrize(
    "junk", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nA" * 9000]
)
def test_junk_ends_its_own_connection_alone(tmp_path: Path, junk: bytes) -> None:
    with client_of(settings_for(tmp_path)) as client:
        with socket.create_connection((client.host, client.port), timeout=30) as connection:
            connection.sendall(junk + b"\r\n\r\n")
            connection.recv(4096)
        assert client.ask("/healthz")[0].status == 200


def test_is_off_until_it_is_configured(tmp_path: Path) -> None:
    assert not WebSettings().enabled
    assert WebSettings().address == "127.0.0.1"
    with serving(lambda: settings_for(tmp_path, enabled=False)) as address:
        assert address is None
        assert "web" not in {thread.name for thread in threading.enumerate()}


def test_a_port_in_use_keeps_nobody_from_working(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_for(tmp_path, port=taken.getsockname()[1])
        with serving(lambda: settings) as address:
            assert address is None


def test_a_bug_of_the_page_keeps_nobody_from_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> str:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(snapshots, "status_page", broken)
    with serving(lambda: settings_for(tmp_path)) as address:
        assert address is None


def test_is_gone_when_the_worker_ends(tmp_path: Path) -> None:
    with client_of(settings_for(tmp_path)) as client:
        assert client.ask("/")[0].status == 200
    with pytest.raises(ConnectionRefusedError):
        client.ask("/")
    begun = time.monotonic()
    while any(thread.name == "web" for thread in threading.enumerate()):
        assert time.monotonic() - begun < 30
        time.sleep(0.05)


def test_a_reader_that_stalls_does_not_keep_the_worker_from_ending(
    tmp_path: Path, logs: Path
) -> None:
    with (logs / "huge.log").open("wb") as file:
        file.truncate(LARGEST_LOG)
    with client_of(settings_for(tmp_path)) as client:
        reader = socket.create_connection((client.host, client.port))
        reader.sendall(f"GET /runs/{RUN}/huge.log HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert reader.recv(100)
    reader.close()


@pytest.mark.parametrize("address", ["example.com", "127.0.0.1:80", ""])
def test_only_addresses_are_listened_on(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        WebSettings(address=address)


def test_ipv6_is_served_too(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, address="::1")
    with served(Application(Shown(standings.good()), lambda: settings), settings.web) as address:
        assert address is not None
        port = int(address.rstrip("/").rpartition(":")[2])
        connection = http.client.HTTPConnection("::1", port, timeout=30)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
