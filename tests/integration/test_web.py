"""The status page over HTTP: read-only, bounded, and nothing of the machine but logs of runs."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from retrofit.config import Settings, WebSettings
from scheduler.web import serving
from scheduler.web import snapshot as snapshots
from scheduler.web.app import LARGEST_LOG, Application
from scheduler.web.connections import CONNECTIONS, HEAD_SECONDS, SHARE, peer_of
from scheduler.web.server import served
from scheduler.web.snapshot import Rendering, Snapshot
from tests.integration.worker_site import eventually
from tests.unit.status import scenes

RUN = "20261122T110000Z-a1b2c3"
PATHS = (
    "/",
    "/api/v2/status",
    "/api/v2/schema",
    "/metrics",
    "/healthz",
    "/livez",
    "/static/style.css",
)


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
    return scenes.settings(tmp_path).model_copy(
        update={"web": WebSettings(**{"enabled": True, "port": 0, **web})}
    )


class Shown:
    """Stands for the snapshot."""

    def __init__(self, scene: scenes.Scene, **options: Any) -> None:
        self.latest = Rendering.of(scenes.document(scene, **options))


@contextmanager
def client_of(settings: Settings, shown: Shown | None = None) -> Iterator[Client]:
    application = Application(shown or Shown(scenes.ok()), lambda: settings)
    with served(application, settings.web) as address:
        assert address is not None
        yield Client(address)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A run's log directory, beside what nobody is to see."""
    directory = tmp_path / "logs" / RUN
    directory.mkdir(parents=True)
    (directory / "build.log").write_text("<b>bold</b>\n")
    (directory / "report.json").write_text(json.dumps(scenes.report("failed").as_dict()))
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


@pytest.mark.parametrize(
    ("path", "name"),
    [("/status", "status"), ("/schema", "schema"), ("", "status"), ("/status/x", "status")],
)
def test_the_first_version_is_gone_and_names_the_second(
    tmp_path: Path, path: str, name: str
) -> None:
    with client_of(settings_for(tmp_path)) as client:
        answer, body = client.ask(f"/api/v1{path}")
        assert (answer.status, answer.headers["Content-Type"]) == (410, "application/json")
        now = json.loads(body)["path"]
        assert now == f"/api/v2/{name}"
        assert now in json.loads(body)["error"]
        assert client.ask(now)[0].status == 200


def test_json_is_as_the_schema_that_is_served(tmp_path: Path) -> None:
    with client_of(settings_for(tmp_path)) as client:
        answer, body = client.ask("/api/v2/status")
        assert answer.headers["Content-Type"] == "application/json"
        jsonschema.validate(json.loads(body), json.loads(client.ask("/api/v2/schema")[1]))


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
        for key in scenes.report("failed").as_dict():
            for value in (None, 7, "text", ["text"], {"key": "value"}):
                damaged = {**scenes.report("failed").as_dict(), key: value}
                (logs / "report.json").write_text(json.dumps(damaged))
                assert client.ask(f"/runs/{RUN}/")[0].status == 200, (key, value)


def test_a_damaged_report_spoils_no_page(tmp_path: Path, logs: Path) -> None:
    settings = settings_for(tmp_path)
    for key in scenes.report("failed").as_dict():
        for value in (None, 7, "text", ["text"], [{"name": 1}], {"key": "value"}):
            damaged = {**scenes.report("failed").as_dict(), key: value}
            (logs / "report.json").write_text(json.dumps(damaged))
            assert Snapshot(lambda: settings).latest.page, (key, value)


def test_health_is_503_and_says_why(tmp_path: Path) -> None:
    from datetime import timedelta

    shown = Shown(scenes.never_run(), since=scenes.NOW - timedelta(hours=40))
    with client_of(settings_for(tmp_path), shown) as client:
        answer, body = client.ask("/healthz")
        assert answer.status == 503
        assert (
            "default: no successful run since this worker began" in json.loads(body)["reasons"][0]
        )
        shown.latest = Rendering.of(scenes.document(scenes.ok()))
        assert client.ask("/healthz")[0].status == 200


def test_a_probe_for_life_does_not_end_the_worker_that_repairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Shown(scenes.no_image())
    with client_of(settings_for(tmp_path), shown) as client:
        answer, body = client.ask("/healthz")
        assert answer.status == 503
        assert "Octavia finds no image" in json.loads(body)["reasons"][0]
        answer, body = client.ask("/livez")
        assert (answer.status, json.loads(body)) == (200, {"alive": True})
        monkeypatch.setattr(snapshots, "TOO_LATE", -1.0)
        assert client.ask("/livez")[0].status == 503


def test_health_is_503_when_nothing_is_renewed_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Shown(scenes.ok())
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
        return scenes.ok().cloud

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
        eventually(lambda: scenes.IMAGE.encode() in client.ask("/")[1], "the answer")


@pytest.mark.parametrize("answered_before", [True, False])
def test_a_cloud_that_does_not_come_to_an_end_is_said_not_to_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered_before: bool
) -> None:
    monkeypatch.setattr(snapshots, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(snapshots, "LONG", 0.2)
    settings = settings_for(tmp_path)
    settings = settings.model_copy(
        update={"web": settings.web.model_copy(update={"refresh": 0.05})}
    )
    answering, released = threading.Event(), threading.Event()
    if answered_before:
        answering.set()

    def ask(*_: Any, **__: Any) -> Any:
        if not answering.is_set():
            released.wait(60)
        return scenes.ok().cloud

    with Snapshot(lambda: settings, ask=ask) as snapshot:
        if answered_before:
            eventually(lambda: scenes.IMAGE.encode() in snapshot.latest.page, "the image")
            answering.clear()
        eventually(lambda: b"no whole answer in" in snapshot.latest.page, "the silence")
        (target,) = snapshot.latest.document.targets
        assert "cloud_unreachable" in target.states
        assert "no whole answer in 0 seconds" in target.summary
        assert ("amphora-haproxy" in target.summary) == answered_before
        answering.set()
        released.set()
        eventually(lambda: b"does not answer" not in snapshot.latest.page, "the answer")


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


def slow(client: Client, begin: bytes, go_on: Callable[[socket.socket], object]) -> SlowClients:
    return SlowClients((client.host, client.port), begin, go_on)


class SlowClients:
    """A hundred clients that come again at once when they are closed, and take their time."""

    def __init__(
        self, where: tuple[str, int], begin: bytes, go_on: Callable[[socket.socket], object]
    ) -> None:
        self.where, self.begin, self.go_on = where, begin, go_on
        self.opened = 0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._one, daemon=True) for _ in range(100)]

    def _one(self) -> None:
        while not self._ended.is_set():
            with suppress(OSError), socket.create_connection(self.where, timeout=5) as connection:
                self.opened += 1
                connection.sendall(self.begin)
                while not self._ended.wait(PACE):
                    self.go_on(connection)
            # Not all at the same moment: that is another attack.
            self._ended.wait(PACE * random.uniform(1, 5))  # noqa: S311  (not for secrets)

    def __enter__(self) -> SlowClients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)


PACE = 0.8
"""Seconds between two bytes of a slow client: a tenth of 8, as the limit is a tenth of its own."""


@pytest.mark.parametrize("kind", ["send", "read"])
def test_a_hundred_slow_clients_keep_nobody_from_probes_and_metrics(
    tmp_path: Path,
    logs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    monkeypatch.setattr("scheduler.web.connections.HEAD_SECONDS", HEAD_SECONDS / 10)
    log = logs / "verify.log"
    with log.open("wb") as file:
        file.truncate(LARGEST_LOG)  # more than the kernel takes for a client that does not read
    begin, go_on = {
        "send": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", lambda each: each.send(b"x")),
        "read": (
            f"GET /runs/{RUN}/verify.log HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
            lambda each: each.recv(1) or each.close(),
        ),
    }[kind]
    times: list[float] = []
    with client_of(settings_for(tmp_path)) as client, slow(client, begin, go_on) as clients:
        eventually(lambda: clients.opened >= CONNECTIONS, "a hundred clients")
        for _ in range(20):
            for path in ("/healthz", "/metrics", "/livez"):
                asked = time.monotonic()
                assert client.ask(path)[0].status in {200, 503}
                times.append(time.monotonic() - asked)
            time.sleep(0.1)
    # Not what the clients see: one that reads a byte now and then has minutes to read yet of what
    # was sent to it before it was closed.
    assert "too many connections" in capsys.readouterr().out
    print(f"slow {kind}: median {sorted(times)[len(times) // 2]:.3f} s, longest {max(times):.3f} s")
    assert max(times) < 5


def test_a_slow_client_is_closed_and_one_that_waits_for_its_next_request_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.web.connections.HEAD_SECONDS", 1.0)
    with client_of(settings_for(tmp_path)) as client:
        lasting = http.client.HTTPConnection(client.host, client.port, timeout=30)
        lasting.request("GET", "/livez")
        lasting.getresponse().read()
        with socket.create_connection((client.host, client.port), timeout=30) as late:
            begun = time.monotonic()
            with suppress(ConnectionError):
                while True:
                    late.sendall(b"G")
                    late.settimeout(0.2)
                    with suppress(TimeoutError):
                        if late.recv(1) == b"":
                            break
            assert 0.9 < time.monotonic() - begun < 10
        lasting.request("GET", "/livez")  # over the same connection
        assert lasting.getresponse().status == 200
        lasting.close()


def test_a_peer_has_its_share_and_leaves_the_rest_to_others() -> None:
    assert SHARE <= CONNECTIONS / 4
    assert peer_of(("192.0.2.1", 80)) == peer_of(("::ffff:192.0.2.1", 80, 0, 0)) == "192.0.2.1"
    assert peer_of(("2001:db8::1", 1, 0, 0)) == peer_of(("2001:db8::2:3:4:5", 2, 0, 0))
    assert peer_of(("2001:db8::1", 1, 0, 0)) != peer_of(("2001:db8:0:1::1", 1, 0, 0))
    assert peer_of(("fe80::1%eth0", 1, 0, 2)) == "fe80::/64"
    assert peer_of(("fe80::1", 1, 0, 2)) == "fe80::/64"


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
    with served(Application(Shown(scenes.ok()), lambda: settings), settings.web) as address:
        assert address is not None
        port = int(address.rstrip("/").rpartition(":")[2])
        connection = http.client.HTTPConnection("::1", port, timeout=30)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
