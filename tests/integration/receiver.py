"""A webhook's receiver on loopback that behaves as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.answering import answering


class Receiver:
    """Records every request; `behave` is `take`, `stall`, `drip`, or the status to refuse with."""

    def __init__(self) -> None:
        self.behave: str | int = "take"
        self.requests: list[dict[str, Any]] = []
        self.woken = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                took = outer.behave == "take"
                outer.requests.append({"headers": dict(self.headers), "body": body, "taken": took})
                if outer.behave == "stall":
                    outer.woken.wait(30)
                    return
                if outer.behave == "drip":
                    outer.drip(self.wfile)
                    return
                self.send_response(200 if took else int(outer.behave))
                self.send_header("Content-Length", "0")
                if outer.behave in {301, 302}:
                    self.send_header("Location", outer.url)
                self.end_headers()

            def do_GET(self) -> None:
                outer.requests.append({"headers": {}, "body": b"", "taken": False})
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def drip(self, wire: Any) -> None:
        """Send a header that has no end, a byte at a time, for half a minute."""
        with suppress(OSError):
            wire.write(b"HTTP/1.1 200 OK\r\nX: ")
            for _ in range(150):
                if self.woken.wait(0.2):
                    return
                wire.write(b"x")

    @property
    def taken(self) -> list[dict[str, Any]]:
        """What arrived and was answered with 200, as JSON."""
        return [json.loads(each["body"]) for each in self.requests if each["taken"]]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Have a receiver for the length of the block."""
    receiver = Receiver()
    with receiver.server, answering(receiver.server):
        try:
            yield receiver
        finally:
            receiver.woken.set()
