"""The proxy lets everything through, and each fault is what it says."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import session
from keystoneauth1.identity import v3

from tests.answering import answering
from tests.devcloud import accounts
from tests.faults import driver, proxy
from tests.faults.proxied import REGION, Proxied
from tests.faults.proxy import Fault, Proxy, Request, proxying

CONTENT = bytes(range(256)) * 4
TIMEOUT = 2.0
BROKEN = requests.exceptions.ConnectionError


@dataclass(kw_only=True)
class Work:
    """What a small server was asked to its end."""

    url: str
    done: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path and the length of the body."""


@pytest.fixture
def work() -> Iterator[Work]:
    """A server that answers everything with the same content, and counts what it was sent."""
    work = Work(url="")

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def answer(self) -> None:
            received = 0
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline() or b"x", 16):
                    received += len(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
            elif length := int(self.headers.get("Content-Length", 0)):
                received = len(self.rfile.read(length))
                if received < length:
                    return
            work.done.append((self.command, self.path, received))
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        do_GET = do_PUT = do_POST = do_DELETE = answer

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of requests that end early."""

    with Server(("127.0.0.1", 0), Handler) as server:
        work.url = f"http://127.0.0.1:{server.server_port}"
        with answering(server):
            yield work


@pytest.fixture
def between(work: Work) -> Iterator[Proxy]:
    """The proxy before that server."""
    with proxying(work.url, work.url) as between:
        yield between


def always(_request: Request) -> bool:
    return True


def get(between: Proxy, path: str = "/v2/images") -> requests.Response:
    return requests.get(f"{between.glance_url}{path}", timeout=TIMEOUT)


def pieces(amount: int, size: int = 1 << 16) -> Iterator[bytes]:
    for _ in range(amount):
        yield bytes(size)


def put(between: Proxy, amount: int = 8) -> requests.Response:
    """Upload in chunks, as glanceclient does."""
    return requests.put(
        f"{between.glance_url}/v2/images/1/file",
        data=pieces(amount),
        headers={"x-openstack-image-size": str(amount << 16)},
        timeout=TIMEOUT,
    )


@contextmanager
def takes(least: float, most: float) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert least <= time.monotonic() - begun <= most


def test_lets_through_what_has_no_fault(between: Proxy, work: Work) -> None:
    assert get(between, "/v2/images?limit=2").content == CONTENT
    assert put(between).content == CONTENT
    requests.post(f"{between.keystone_url}/v3/auth/tokens", json={"a": "b"}, timeout=TIMEOUT)
    assert work.done == [
        ("GET", "/v2/images?limit=2", 0),
        ("PUT", "/v2/images/1/file", 8 << 16),
        ("POST", "/v3/auth/tokens", 10),
    ]
    assert between.seen == [
        Request(service="glance", method="GET", path="/v2/images", query="limit=2", number=1),
        Request(service="glance", method="PUT", path="/v2/images/1/file", query="", number=2),
        Request(service="keystone", method="POST", path="/v3/auth/tokens", query="", number=3),
    ]
    assert between.hit == []


def test_a_fault_meets_whom_it_is_meant_for(between: Proxy) -> None:
    between.add(lambda request: request.path == "/a", proxy.status(503), times=2, after=1)
    codes = [get(between, path).status_code for path in ("/a", "/b", "/a", "/b", "/a", "/a")]
    assert codes == [200, 200, 503, 200, 503, 200]
    assert [request.number for request in between.hit] == [3, 5]
    between.clear()
    assert (between.seen, between.hit) == ([], [])
    between.add(lambda request: request.service == "keystone", proxy.status(500), times=None)
    between.chance(lambda request: proxy.status(404) if request.path == "/c" else None)
    asked = [between.keystone_url] * 3 + [between.glance_url]
    codes = [requests.get(f"{url}/c", timeout=TIMEOUT).status_code for url in asked]
    assert codes == [500, 500, 500, 404]
    between.clear()
    assert get(between, "/c").status_code == 200


def test_a_status_comes_instead_of_the_server(between: Proxy, work: Work) -> None:
    between.add(always, proxy.status(503, retry_after=7))
    answer = put(between, 64)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert answer.json()["title"] == "Service Unavailable"
    assert work.done == []


def test_an_early_status_comes_before_the_end_of_the_upload(between: Proxy, work: Work) -> None:
    between.add(always, proxy.status_early(413))
    parts = urlsplit(between.glance_url)
    with closing(socket.create_connection((parts.hostname, parts.port), TIMEOUT)) as wire:
        wire.sendall(b"PUT /v2/images/1/file HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        assert answer.status == 413
    assert work.done == []


def test_a_late_status_denies_what_was_done(between: Proxy, work: Work) -> None:
    between.add(always, proxy.status_late(502))
    assert put(between).status_code == 502
    assert work.done == [("PUT", "/v2/images/1/file", 8 << 16)]


def test_a_delayed_request_arrives_late(between: Proxy, work: Work) -> None:
    between.add(always, proxy.delayed(0.3))
    with takes(0.3, TIMEOUT):
        assert get(between).content == CONTENT
    between.add(always, proxy.delayed(TIMEOUT * 1.5))
    with pytest.raises(requests.exceptions.ReadTimeout):
        get(between)
    time.sleep(TIMEOUT)
    assert len(work.done) == 1


@pytest.mark.parametrize("fault", [proxy.cut_before(), proxy.cut_request()])
def test_a_cut_before_its_end_leaves_a_request_undone(
    between: Proxy, work: Work, fault: Fault
) -> None:
    between.add(always, fault, times=3)
    with pytest.raises(BROKEN, match="reset"):
        get(between)
    # In which words depends on how far a body had come: the reset, or a broken pipe before it.
    with pytest.raises(BROKEN, match=r"reset|without response"):
        requests.post(f"{between.keystone_url}/v3/auth/tokens", json={"a": "b"}, timeout=TIMEOUT)
    with pytest.raises(BROKEN):
        put(between)
    assert work.done == []


def test_half_of_a_cut_upload_has_reached_the_server() -> None:
    received = 0
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def count() -> None:
            nonlocal received
            wire = listener.accept()[0]
            with closing(wire):
                try:
                    while block := wire.recv(1 << 16):
                        received += len(block)
                except ConnectionResetError:
                    return

        counting = threading.Thread(target=count)
        counting.start()
        with proxying(url, url) as between:
            between.add(always, proxy.cut_request())
            with pytest.raises(BROKEN):
                put(between, 32)
            counting.join()
    assert 15 << 16 < received < 17 << 16


def test_a_cut_afterwards_loses_the_answer(between: Proxy, work: Work) -> None:
    between.add(always, proxy.cut_after())
    with pytest.raises(BROKEN, match="reset"):
        put(between)
    assert work.done == [("PUT", "/v2/images/1/file", 8 << 16)]


@pytest.mark.parametrize(("fault", "done"), [(proxy.stall(9), 0), (proxy.stall_after(9), 1)])
def test_a_stall_has_no_answer(between: Proxy, work: Work, fault: Fault, done: int) -> None:
    between.add(always, fault)
    with pytest.raises(requests.exceptions.ReadTimeout):
        put(between)
    assert len(work.done) == done


@pytest.mark.parametrize("fault", [proxy.stall(0.1), proxy.stall_after(0.1)])
def test_a_stall_ends_without_an_answer(between: Proxy, fault: Fault) -> None:
    between.add(always, fault)
    with pytest.raises(BROKEN, match="without response"):
        get(between)


def test_half_a_body_comes_before_silence_or_the_end(between: Proxy) -> None:
    for fault, error in (
        (proxy.stall_body(9), "timed out"),
        (proxy.truncate(), "512 bytes read, 512 more expected"),
    ):
        between.add(always, fault)
        with requests.get(between.glance_url, timeout=TIMEOUT, stream=True) as answer:
            assert answer.headers["Content-Length"] == str(len(CONTENT))
            body = answer.iter_content(256)
            assert [next(body), next(body)] == [CONTENT[:256], CONTENT[256:512]]
            with pytest.raises(requests.exceptions.RequestException, match=error):
                next(body)


def test_trickles_byte_by_byte(between: Proxy) -> None:
    between.add(always, proxy.trickle(0.7))
    with takes(0.7, 5.0):
        assert get(between).content == CONTENT


def test_flips_one_bit(between: Proxy) -> None:
    between.add(always, proxy.corrupt())
    got = get(between).content
    assert len(got) == len(CONTENT)
    (where,) = [number for number, byte in enumerate(got) if byte != CONTENT[number]]
    assert where == len(CONTENT) // 2
    assert (got[where] ^ CONTENT[where]).bit_count() == 1


def test_garbage_is_a_good_answer_of_somebody_else(between: Proxy, work: Work) -> None:
    between.add(always, proxy.garbage())
    answer = put(between)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert work.done == []


def test_an_upload_that_is_not_read_gets_stuck(between: Proxy, work: Work) -> None:
    between.add(always, proxy.stop_reading(9))
    sent = 0

    def counted() -> Iterator[bytes]:
        nonlocal sent
        for piece in pieces(1 << 10):
            yield piece
            sent += len(piece)

    with pytest.raises(BROKEN, match="timed out"):
        requests.put(f"{between.glance_url}/file", data=counted(), timeout=TIMEOUT)
    assert 1 << 16 < sent < 32 << 20
    assert work.done == []


def test_ends_whatever_is_still_going_on(work: Work) -> None:
    waiting = (
        proxy.stall(60),
        proxy.stall_after(60),
        proxy.stall_body(60),
        proxy.delayed(60),
        proxy.trickle(60),
        proxy.stop_reading(60),
    )
    errors: list[Exception] = []

    def ask(url: str) -> None:
        try:
            requests.put(url, data=pieces(4), timeout=60)
        except requests.exceptions.RequestException as error:
            errors.append(error)

    with proxying(work.url, work.url) as between:
        for fault in waiting:
            between.add(always, fault)
        clients = [threading.Thread(target=ask, args=(between.glance_url,)) for _ in waiting]
        for client in clients:
            client.start()
        deadline = time.monotonic() + 10
        while len(between.hit) < len(waiting) and time.monotonic() < deadline:
            time.sleep(0.01)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    for client in clients:
        client.join(5)
    assert len(errors) == len(waiting)
    with pytest.raises(BROKEN):
        get(between)


def test_what_is_forked_meanwhile_holds_no_connection_open(between: Proxy) -> None:
    between.add(always, proxy.stall(0.3))
    came: list[float] = []

    def ask() -> None:
        with pytest.raises(BROKEN, match="without response"):
            requests.get(between.glance_url, timeout=9)
        came.append(time.monotonic())

    client = threading.Thread(target=ask)
    client.start()
    while not between.hit:
        time.sleep(0.01)
    child = os.fork()
    if child == 0:
        time.sleep(3)
        os._exit(0)
    forked = time.monotonic()
    client.join()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert came[0] - forked < 1.5


def test_a_server_that_is_down_is_a_broken_connection() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with proxying(url, url) as between, pytest.raises(BROKEN, match="reset"):
        get(between)


def glance_of(faulty: Proxied) -> session.Session:
    auth: Any = accounts.auth_of(accounts.ACCOUNTS[1], faulty.proxy.keystone_url)
    return session.Session(auth=v3.Password(**auth), timeout=TIMEOUT)


def images(through: session.Session) -> requests.Response:
    return through.get(
        "/v2/images", endpoint_filter={"service_type": "image", "region_name": REGION}
    )


def test_a_run_through_it_publishes(faulty: Proxied) -> None:
    faulty.harness.source("20260911.1")
    with faulty.through() as harness:
        ended = driver.run(harness, "run-once")
    assert ended.exit_code == 0
    (made,) = faulty.harness.tagged()
    asked = [(each.service, each.method, each.path) for each in faulty.proxy.seen]
    order = [
        ("keystone", "POST", "/v3/auth/tokens"),
        ("glance", "GET", "/v2/images"),
        ("glance", "POST", "/v2/images"),
        ("glance", "PUT", f"/v2/images/{made}/file"),
        ("glance", "PUT", f"/v2/images/{made}/tags/octavia-amphora"),
    ]
    assert asked[0][0] == "keystone"
    positions = [asked.index(each) for each in order]
    assert positions == sorted(positions)
    assert [each.number for each in faulty.proxy.seen] == list(range(1, len(asked) + 1))
    assert faulty.proxy.hit == []
    seen = len(asked)
    assert driver.run(faulty.harness, "run-once").exit_code == 0
    assert len(faulty.proxy.seen) == seen


def test_the_real_services_faults_are_what_clients_make_of_them(faulty: Proxied) -> None:
    through = glance_of(faulty)
    faulty.proxy.add(lambda request: request.service == "keystone", proxy.status(503))
    with pytest.raises(ks_exc.ServiceUnavailable):
        through.get_token()
    assert len(images(through).json()["images"]) == 0
    faulty.proxy.add(lambda request: request.service == "glance", proxy.cut_after())
    with pytest.raises(ks_exc.ConnectFailure):
        images(through)
    faulty.proxy.add(lambda request: request.service == "glance", proxy.truncate())
    with pytest.raises(ks_exc.UnknownConnectionError, match="34 bytes read, 35 more expected"):
        images(through)
    assert len(images(through).json()["images"]) == 0
    assert [request.service for request in faulty.proxy.hit] == ["keystone", "glance", "glance"]


def test_a_bit_of_a_real_image_is_flipped(faulty: Proxied) -> None:
    image_id = faulty.harness.source("20260911.1")
    through = glance_of(faulty)
    where = {"endpoint_filter": {"service_type": "image", "region_name": REGION}}
    path = f"/v2/images/{image_id}/file"
    good = through.get(path, **where).content
    faulty.proxy.add(lambda request: request.path == path, proxy.corrupt())
    bad = through.get(path, **where).content
    assert len(bad) == len(good) == faulty.harness.image(image_id).size
    assert sum(one != other for one, other in zip(bad, good, strict=True)) == 1
    assert faulty.proxy.hit[0].path == path
