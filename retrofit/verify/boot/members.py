"""Servers behind the load balancer, on our end of its networks, and what they were asked."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from retrofit.system.threads import in_background, start_in_time
from retrofit.verify.boot.network import Namespace

POLL = 0.2
"""Seconds between two looks of a server whether it is to end."""
LONGEST_LINE = 200
"""Bytes: a header of the PROXY protocol has 107 at most."""
MONITOR = "/monitor"
"""Path that health monitors ask for: such requests are no traffic."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request: who asked, at which address, with which headers, and who HAProxy said it was."""

    peer: str
    at: str
    headers: Mapping[str, str]
    proxied: str = ""


@dataclass(kw_only=True)
class Server:
    """A web server, its answer, and the requests of its clients."""

    body: bytes
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def web_server(
    namespace: Namespace,
    address: str,
    port: int,
    *,
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
    proxied: bool = False,
) -> Iterator[Server]:
    """Serve `body` for the length of the block.

    `proxied`: each connection begins with a header of the PROXY protocol, version 1.
    """
    state = Server(body=body)

    class Handler(http.server.BaseHTTPRequestHandler):
        announced = ""

        def handle(self) -> None:
            # Health monitors of type TCP, and a machine that goes off, end connections early.
            with suppress(OSError):
                if proxied:
                    line = self.rfile.readline(LONGEST_LINE)
                    self.announced = line.decode(errors="replace").strip()
                super().handle()

        def do_GET(self) -> None:
            if self.path != MONITOR:
                state.asked.append(
                    Asked(
                        peer=self.client_address[0],
                        at=address,
                        headers=dict(self.headers.items()),
                        proxied=self.announced,
                    )
                )
            self.send_response(200)
            self.send_header("Content-Length", str(len(state.body)))
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_: object) -> None:
            """Keep requests out of the terminal."""

    listener = namespace.listen((address, port))
    if tls is not None:
        # The handshake belongs to the connection's own thread: one that hangs holds nobody up.
        listener = tls.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
    server = http.server.ThreadingHTTPServer((address, 0), Handler, bind_and_activate=False)
    server.daemon_threads = True
    server.socket.close()
    server.socket = listener
    thread = threading.Thread(target=server.serve_forever, args=(POLL,), daemon=True)
    start_in_time(thread.start)
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def tcp_server(namespace: Namespace, address: str, port: int) -> Iterator[None]:
    """Take connections, and end them, for the length of the block."""
    with namespace.listen((address, port)) as listener, answering(listener, _hang_up):
        yield


def _hang_up(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    connection.close()


@contextmanager
def udp_server(namespace: Namespace, address: str, port: int) -> Iterator[list[str]]:
    """Send back what comes, for the length of the block; yields the addresses of the clients."""
    clients: list[str] = []

    def echo(server: socket.socket) -> None:
        data, client = server.recvfrom(4096)
        clients.append(client[0])
        server.sendto(data, client)

    with namespace.open_socket(socket.SOCK_DGRAM, ipv6=":" in address) as server:
        server.bind((address, port))
        with answering(server, echo):
            yield clients


@contextmanager
def answering(server: socket.socket, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Have a thread call `answer` again and again, for the length of the block."""
    server.settimeout(POLL)

    def serve(over: threading.Event) -> None:
        while not over.is_set():
            with suppress(OSError):  # also the time limit
                answer(server)

    with in_background(serve, name="member"):
        yield
