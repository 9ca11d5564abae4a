"""A web server for a mirror that does what mirrors, and those between, do on bad days."""

from __future__ import annotations

import contextlib
import email.utils
import fnmatch
import http.client
import http.server
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.answering import answering

Fault = Callable[["_Handler", bytes], None]
"""Answers a request in its own way; it is given the bytes that a good server would send."""


@dataclass(kw_only=True)
class Rule:
    """A fault for the requests whose path matches, `times` times (None: always)."""

    pattern: str
    fault: Fault
    times: int | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came in."""

    path: str
    headers: dict[str, str]


@dataclass(kw_only=True)
class FaultyServer:
    """A server on loopback; faults are added while it runs."""

    root: Path
    url: str = ""
    rules: list[Rule] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def add(self, pattern: str, fault: Fault, *, times: int | None = None) -> None:
        """Have requests whose path matches a shell pattern answered by `fault`."""
        self.rules.append(Rule(pattern=pattern, fault=fault, times=times))

    def ranges(self, pattern: str) -> list[str | None]:
        """The Range headers of the requests for matching paths, in order."""
        return [
            each.headers.get("range") for each in self.asked if fnmatch.fnmatch(each.path, pattern)
        ]

    def fault_for(self, path: str) -> Fault | None:
        """Take the next fault for a path."""
        for rule in self.rules:
            if rule.times != 0 and fnmatch.fnmatch(path, rule.pattern):
                if rule.times is not None:
                    rule.times -= 1
                return rule.fault
        return None


@contextmanager
def serving(
    root: Path, *, certificate: Path | None = None, rate: int | None = None
) -> Iterator[FaultyServer]:
    """Serve a directory for the length of the block; over HTTPS with a PEM of key and certificate.

    `rate` is in bytes a second.
    """
    state = FaultyServer(root=root)
    handler = type("Handler", (_Handler,), {"state": state, "rate": rate})
    with _Server(("127.0.0.1", 0), handler) as server:
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        state.url = f"{scheme}://127.0.0.1:{server.server_port}/"
        with answering(server):
            yield state


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FaultyServer
    rate: int | None = None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.state.asked.append(Asked(path=path, headers=headers))
        fault = self.state.fault_for(path)
        file = self.state.root / path.lstrip("/")
        if fault is not None:
            fault(self, file.read_bytes() if file.is_file() else b"")
        elif file.is_file():
            self.serve(file)
        else:
            self.send_error(404)

    def serve(self, file: Path) -> None:
        """Send a file, or the range of it that was asked for, without reading it whole."""
        facts = file.stat()
        tag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
        begin = self.begin_of(tag, facts.st_size)
        if begin is not None and begin >= facts.st_size:
            self.reply(416, headers={"Content-Range": f"bytes */{facts.st_size}"})
            return
        self.send_response(200 if begin is None else 206)
        if begin is not None:
            extent = f"bytes {begin}-{facts.st_size - 1}/{facts.st_size}"
            self.send_header("Content-Range", extent)
        self.send_header("Content-Length", str(facts.st_size - (begin or 0)))
        self.send_header("ETag", tag)
        self.send_header("Last-Modified", email.utils.formatdate(facts.st_mtime, usegmt=True))
        self.end_headers()
        with file.open("rb") as data:
            data.seek(begin or 0)
            while block := data.read(1 << 16):
                self.wfile.write(block)
                if self.rate:
                    time.sleep(len(block) / self.rate)

    def begin_of(self, tag: str, size: int) -> int | None:
        """Where the wanted range begins; None when all of the file is to be sent."""
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes=") or self.headers.get("If-Range", tag) != tag:
            return None
        return int(wanted.removeprefix("bytes=").rstrip("-"))

    def reply(
        self, status: int, body: bytes = b"", *, headers: dict[str, str] | None = None
    ) -> None:
        """Send an answer with a body of the length that it says."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def status(code: int, **headers: str) -> Fault:
    """Answer with a status; `retry_after="1"` becomes Retry-After: 1."""
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _good: handler.reply(code, b"no\n", headers=said)


def redirect(to: str) -> Fault:
    """Send the client elsewhere."""
    return lambda handler, _good: handler.reply(302, headers={"Location": to})


def instead(body: bytes) -> Fault:
    """Send other bytes, as if they were the file."""
    return lambda handler, _good: handler.reply(200, body)


def corrupted(handler: _Handler, good: bytes) -> None:
    """Send the file with one bit flipped."""
    middle = len(good) // 2
    handler.reply(200, good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])


def short(handler: _Handler, good: bytes) -> None:
    """Send half of the file as if that were all."""
    handler.reply(200, good[: len(good) // 2])


def padded(handler: _Handler, good: bytes) -> None:
    """Send more than the file, without saying how much."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    for _ in range(64):
        handler.wfile.write(good)
    handler.close_connection = True


def cut(handler: _Handler, good: bytes) -> None:
    """Announce the whole file, send half of it and hang up."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(good)))
    handler.send_header("ETag", '"cut"')
    handler.end_headers()
    handler.wfile.write(good[: len(good) // 2])
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def stall(seconds: float) -> Fault:
    """Announce the whole file, send half of it, and then nothing."""

    def answer(handler: _Handler, good: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(good)))
        handler.end_headers()
        handler.wfile.write(good[: len(good) // 2])
        handler.wfile.flush()
        # Until the client has gone, at most as long as the test may take.
        select.select([handler.connection], [], [], seconds)
        handler.close_connection = True

    return answer


def trickle(seconds: float) -> Fault:
    """Send a byte now and then, so that no read ever times out."""

    def answer(handler: _Handler, good: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(good)))
        handler.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            handler.wfile.write(b"\0")
            handler.wfile.flush()
            time.sleep(0.1)

    return answer


def drip(beginning: bytes, seconds: float) -> Fault:
    """Begin an answer that never gets on, a byte now and then."""

    def answer(handler: _Handler, _good: bytes) -> None:
        handler.wfile.write(beginning)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.1)
        handler.close_connection = True

    return answer


HEAD = b"HTTP/1.1 200 OK\r\nX: "
CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"
"""What comes after the size of a chunk has no end of its own."""


def slow(rate: int, seconds: float) -> Fault:
    """Send something else, with so many bytes a second, for so long."""

    def answer(handler: _Handler, _good: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 25))
        handler.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            handler.wfile.write(bytes(rate // 10))
            handler.wfile.flush()
            time.sleep(0.1)
        handler.close_connection = True

    return answer


@contextmanager
def proxy() -> Iterator[FaultyServer]:
    """A forward proxy on loopback, for http and (by CONNECT) https; it notes what it is asked."""
    state = FaultyServer(root=Path("/nonexistent"))
    handler = type("Handler", (_Proxy,), {"state": state})
    with _Server(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        with answering(server):
            yield state


class _Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FaultyServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self.state.asked.append(Asked(path=self.path, headers=dict(self.headers)))
        parts = urlsplit(self.path)
        there = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=20)
        with contextlib.closing(there):
            there.request("GET", parts.path, headers=dict(self.headers))
            answer = there.getresponse()
            body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.state.asked.append(Asked(path=self.path, headers=dict(self.headers)))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as there:
            self.send_response(200)
            self.end_headers()
            pair = {there: self.connection, self.connection: there}
            while readable := select.select(list(pair), [], [], 20)[0]:
                for source in readable:
                    data = source.recv(1 << 16)
                    if not data:
                        self.close_connection = True
                        return
                    pair[source].sendall(data)
