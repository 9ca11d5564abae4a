"""An http server that counts what it is asked for, and fails as it is told to."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.answering import answering


@dataclass
class ArchiveServer:
    """Requests and bytes so far, and how to answer."""

    url: str = ""
    requests: list[tuple[str, int]] = field(default_factory=list)
    """Path and status code of each."""
    sent: int = 0
    """Bytes of answers, with their headers."""
    gone: bool = False
    """Answer 503 to everything."""
    validators: bool = True
    """Have Last-Modified, and so honour If-Modified-Since."""
    cut: int | None = None
    """Bytes of a body after which the connection ends."""

    redirect: str = ""
    """Where to send those who ask for what is not there."""

    def forget(self) -> None:
        """Count anew."""
        self.requests.clear()
        self.sent = 0


class _Counted:
    def __init__(self, file: Any, server: ArchiveServer) -> None:
        self.file, self.server = file, server

    def write(self, data: bytes) -> int:
        self.server.sent += len(data)
        return int(self.file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, state: ArchiveServer, **options: Any) -> None:
        self.state = state
        super().__init__(*arguments, **options)

    def setup(self) -> None:
        super().setup()
        self.wfile = _Counted(self.wfile, self.state)  # type: ignore[assignment]

    def do_GET(self) -> None:
        if self.state.gone:
            self.send_error(503)
            return
        if self.state.redirect and not Path(self.translate_path(self.path)).exists():
            self.send_response(302)
            self.send_header("Location", self.state.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if not self.state.validators:
            del self.headers["If-Modified-Since"]
        super().do_GET()

    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Last-Modified" or self.state.validators:
            super().send_header(keyword, value)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        data = source.read()
        outputfile.write(data if self.state.cut is None else data[: self.state.cut])
        if self.state.cut is not None:
            self.close_connection = True

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        self.state.requests.append((self.path, int(code)))

    def log_message(self, *arguments: Any) -> None:
        """Write nothing: `requests` has it."""


@contextmanager
def served(directory: Path, certificate: Path | None = None) -> Iterator[ArchiveServer]:
    """Serve a directory on loopback for the length of the block, by https with a certificate."""
    state = ArchiveServer()
    handler = partial(_Handler, state=state, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            state.url = f"https://127.0.0.1:{server.server_port}"
        with answering(server):
            yield state
