"""Servers before a real one, each odd in a way that is met in clouds.

A `Front` passes requests on to a real Keystone or Glance. What is odd about it is a field or a
`meet` of its own. Its clients speak HTTP/1.1 to it, and by TLS where it has a certificate.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import re
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import urlsplit

from tests.answering import answering
from tests.devcloud.certificates import Certificate

BLOCK = 1 << 16
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
IN_MEMORY = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came to a front."""

    method: str
    path: str
    headers: dict[str, str]
    """Names are in small letters."""
    protocol: str | None
    """What TLS agreed on by ALPN, where there is TLS."""

    @property
    def is_upload(self) -> bool:
        return self.method == "PUT" and self.path.endswith("/file")

    @property
    def chunked(self) -> bool:
        return "transfer-encoding" in self.headers


@dataclass(kw_only=True)
class Front:
    """An address on loopback, and how what is asked there reaches the server behind it."""

    behind: str
    """The server's address, without a path."""
    prefix: str = ""
    """Path below which the server's own paths are: "/image"; anything else is not found."""
    certificate: Certificate | None = None
    demands_certificate: bool = False
    """Whether clients need one of the same authority: the server's own will do."""
    chunks: str = "passed"
    """Bodies in chunks are "passed", "refused" by 411, or stored "empty"."""
    hold: float = 0.0
    """Seconds between the last byte of an upload and the first that the server sees."""
    small_letters: bool = False
    """Answer as what speaks HTTP/2: names in small letters, no reason."""
    without: str = ""
    """Headers that begin like this pass in neither direction."""
    closes: Callable[[Asked], bool] = lambda _asked: False
    """Whether the connection ends after an answer, which does not say so."""
    rewrite: Callable[[bytes], bytes] = lambda body: body
    """What becomes of JSON in answers."""
    own_host: bool = False
    """Whether the server behind is asked by this front's own name, as by ProxyPreserveHost."""
    meet: Callable[[Handler], bool] = lambda _handler: False
    """Answers a request in the server's place; False where it is to pass."""
    url: str = ""
    """With the prefix, without a slash at its end."""
    asked: list[Asked] = field(default_factory=list)
    answered: list[tuple[Asked, int]] = field(default_factory=list)
    """What the server behind answered, by status."""

    @property
    def uploads(self) -> list[Asked]:
        return [each for each in self.asked if each.is_upload]

    @property
    def address(self) -> str:
        """The URL without the prefix."""
        return self.url.removesuffix(self.prefix)

    @contextmanager
    def serving(self) -> Iterator[Front]:
        """Serve for the length of the block."""
        handler = type("Served", (Handler,), {"front": self})
        with _Server(("127.0.0.1", 0), handler) as server:
            scheme = "http"
            if self.certificate is not None:
                scheme = "https"
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self.certificate.server)
                if self.demands_certificate:
                    context.load_verify_locations(self.certificate.authority)
                    context.verify_mode = ssl.CERT_REQUIRED
                # As fronts that speak HTTP/2 do: the client says which of the two it speaks.
                context.set_alpn_protocols(["h2", "http/1.1"])
                server.tls = context
            self.url = f"{scheme}://127.0.0.1:{server.server_port}{self.prefix}"
            with answering(server):
                yield self


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is not None:
            try:
                request = self.tls.wrap_socket(request, server_side=True)
            except (ssl.SSLError, OSError):
                return  # a client that does not trust us
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients hang up


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection to a front."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    front: Front

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _serve(self) -> None:
        chosen = getattr(self.connection, "selected_alpn_protocol", lambda: None)()
        self.asked = Asked(
            method=self.command,
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            protocol=chosen,
        )
        self.front.asked.append(self.asked)
        if self.asked.chunked and self.front.chunks == "refused":
            self.refuse(411)
            return
        if self.front.meet(self):
            return
        path = self.path.removeprefix(self.front.prefix)
        if not self.path.startswith(f"{self.front.prefix}/") and path:
            self.read_body().close()
            self.answer(404, b"<html>nothing here</html>", Content_Type="text/html")
            return
        with self.read_body() as body:
            if self.asked.is_upload:
                time.sleep(self.front.hold)
            if self.asked.chunked and self.front.chunks == "empty":
                body.truncate(0)
            self._pass_on(path or "/", body)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _serve

    def read_body(self) -> IO[bytes]:
        """Read the whole request before anything is passed on, as fronts that buffer do."""
        kept = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 -- the caller closes it
        for block in self._body():
            kept.write(block)
        return kept

    def _body(self) -> Iterator[bytes]:
        if self.asked.chunked:
            while length := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.asked.headers.get("content-length") or 0)
        while left > 0 and (block := self.rfile.read(min(BLOCK, left))):
            left -= len(block)
            yield block

    def _pass_on(self, path: str, body: IO[bytes]) -> None:
        size = body.seek(0, 2)
        body.seek(0)
        there = urlsplit(self.front.behind)
        wire = http.client.HTTPConnection(there.hostname or "", there.port, timeout=60)
        with contextlib.closing(wire):
            wire.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
            host = urlsplit(self.front.url).netloc if self.front.own_host else there.netloc
            wire.putheader("Host", host)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP and not self._is_lost(name):
                    wire.putheader(name, value)
            if size or self.command in {"PUT", "POST", "PATCH"}:
                wire.putheader("Content-Length", str(size))
            wire.putheader("Connection", "close")
            wire.endheaders()
            while block := body.read(BLOCK):
                wire.send(block)
            came = wire.getresponse()
            data = came.read()
            self.front.answered.append((self.asked, came.status))
            if "json" in (came.getheader("Content-Type") or ""):
                data = self.front.rewrite(data)
            kept = {
                name: value
                for name, value in came.getheaders()
                if name.lower() not in HOP_BY_HOP and not self._is_lost(name)
            }
            self.answer(came.status, data, **kept)

    def _is_lost(self, name: str) -> bool:
        return bool(self.front.without) and name.lower().startswith(self.front.without)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send an answer with a body of the length that it says."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if status != 204:
            given["Content-Length"] = str(len(body))
        if self.front.small_letters:
            given = {name.lower(): value for name, value in given.items()}
            self.send_response_only(status, " ")
        else:
            self.send_response_only(status)
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if self.front.closes(self.asked):
            self.close_connection = True

    def refuse(self, status: int) -> None:
        """Answer at once, whatever of the body is still to come, and hang up."""
        self.answer(status, Connection="close")
        self.close_connection = True
        self.wfile.flush()
        # As servers do: read on for a while, or what is on its way would reset the answer.
        self.connection.settimeout(0.5)
        with contextlib.suppress(OSError):
            while self.rfile.read1(BLOCK):
                pass

    def redirect(self, status: int, to: str) -> bool:
        """Send the client elsewhere without a look at what it wants to send."""
        self.answer(status, Location=to, Connection="close")
        self.close_connection = True
        return True


def internal_links(body: bytes) -> bytes:
    """Make Glance's links absolute, by a name that is known behind the front only."""
    return re.sub(rb'"(/v2/)', rb'"http://glance.internal.invalid:9292\1', body)
