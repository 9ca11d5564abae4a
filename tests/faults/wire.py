"""One HTTP request on its way from a client to a server, and the answer on its way back.

Every connection carries one request: what is forwarded asks the server to close afterwards.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus

BLOCK = 1 << 16
END = b"\r\n"
RESET = struct.pack("ii", 1, 0)
ARRIVAL = 1.0
"""Seconds for what was sent to reach a server that may have stopped reading."""

_gate = threading.Lock()
_sockets: set[socket.socket] = set()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked of which service; `number` counts from 1 over all services."""

    service: str
    method: str
    path: str
    query: str
    number: int


def opened(made: socket.socket) -> socket.socket:
    """Note a socket as this process's alone: what a child holds too, no close would end."""
    _sockets.add(made)
    return made


@contextlib.contextmanager
def no_fork() -> Iterator[None]:
    """Have no process forked off between a socket's making and its noting."""
    with _gate:
        yield


def close(each: socket.socket, *, rudely: bool = False) -> None:
    """Close a connection, or reset it."""
    with _gate, contextlib.suppress(OSError):
        if rudely:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        each.close()
        _sockets.discard(each)


def wake(each: socket.socket) -> None:
    """End whatever waits for a socket, in whichever thread."""
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)


def _leave_to_parent() -> None:
    for each in _sockets:
        each.close()
    _sockets.clear()
    _gate.release()


os.register_at_fork(
    before=_gate.acquire, after_in_parent=_gate.release, after_in_child=_leave_to_parent
)


class Incoming:
    """What comes in on a socket, read by lines or as it comes."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._kept = b""

    def until(self, mark: bytes) -> bytes:
        """Read up to a mark, and that. Raises ConnectionError where the stream ends before it."""
        while mark not in self._kept:
            block = self._wire.recv(BLOCK)
            if not block:
                raise ConnectionError("ended early")
            self._kept += block
        found, _, self._kept = self._kept.partition(mark)
        return found + mark

    def block(self, most: int = BLOCK) -> bytes:
        """Read what there is, nothing at the end."""
        block = self._kept[:most] or self._wire.recv(most)
        self._kept = self._kept[most:]
        return block

    def blocks(self, amount: int | None = None) -> Iterator[bytes]:
        """Read so many bytes, or all. Raises ConnectionError where there are fewer."""
        while amount is None or amount > 0:
            block = self.block(BLOCK if amount is None else min(BLOCK, amount))
            if block and amount is not None:
                amount -= len(block)
            elif not block and amount is not None:
                raise ConnectionError("ended early")
            elif not block:
                return
            yield block

    def chunks(self) -> Iterator[bytes]:
        """Read a body in chunks to its end, with what frames them."""
        while True:
            size = self.until(END)
            yield size
            length = int(size.split(b";")[0], 16)
            yield from self.blocks(length + len(END))
            if length == 0:
                return


@dataclass(frozen=True, kw_only=True)
class Head:
    """The lines before a body, raw and read; names are in small letters."""

    raw: bytes
    first: str
    fields: dict[str, str]

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the head says it."""
        said = self.fields.get("content-length")
        return None if said is None else int(said)

    @property
    def chunked(self) -> bool:
        return self.fields.get("transfer-encoding", "").lower() == "chunked"


def read_head(incoming: Incoming) -> Head:
    """Read the lines before a body."""
    raw = incoming.until(END + END)
    first, *lines = raw.decode("latin-1").strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Head(raw=raw, first=first, fields=fields)


class Exchange:
    """One request, and what may be done with it."""

    request: Request

    def __init__(self, client: socket.socket, *, port: int) -> None:
        self._client = client
        self._incoming = Incoming(client)
        self._port = port

    @cached_property
    def head(self) -> Head:
        """The request's head, read when first asked for."""
        return read_head(self._incoming)

    @cached_property
    def _server(self) -> socket.socket:
        with no_fork():
            server = opened(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        server.connect(("127.0.0.1", self._port))
        return server

    @property
    def has_body(self) -> bool:
        return self.head.chunked or bool(self.head.length)

    @property
    def forwarded_head(self) -> bytes:
        """The head as the server gets it: it is to close the connection afterwards."""
        lines = [
            line
            for line in self.head.raw.removesuffix(END + END).split(END)
            if not line.lower().startswith(b"connection:")
        ]
        return END.join([*lines, b"Connection: close", b"", b""])

    def body(self) -> Iterator[bytes]:
        """Read the request's body, with what frames its chunks, as it comes."""
        if self.head.chunked:
            return self._incoming.chunks()
        return self._incoming.blocks(self.head.length or 0)

    def read_body(self) -> None:
        """Read the request's body to its end and forget it."""
        for _block in self.body():
            pass

    def to_server(self, data: bytes) -> None:
        self._server.sendall(data)

    def to_client(self, data: bytes) -> None:
        self._client.sendall(data)

    def forward(self) -> None:
        """Give the whole request to the server, as far as it wants to read it."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.to_server(self.forwarded_head)
            for block in self.body():
                self.to_server(block)

    def answer(self) -> tuple[Head, Iterator[bytes]]:
        """Read the head of the server's answer; the body comes as it is asked for."""
        incoming = Incoming(self._server)
        return read_head(incoming), incoming.blocks()

    def relay(self) -> None:
        """Pass the request and its answer on, both as they come."""
        self.to_server(self.forwarded_head)
        sender = threading.Thread(target=self._send_body)
        if self.has_body:
            sender.start()
        try:
            for block in Incoming(self._server).blocks():
                self.to_client(block)
        finally:
            if self.has_body:
                # An answer may come before all of the body was read.
                wake(self._server)
                with contextlib.suppress(OSError):
                    self._client.shutdown(socket.SHUT_RD)
                sender.join()

    def _send_body(self) -> None:
        try:
            for block in self.body():
                self.to_server(block)
        except OSError:
            # Half a body is no request: the server must not wait for the rest.
            wake(self._server)

    def reply(self, code: int, body: bytes, **fields: str) -> None:
        """Answer in the server's place."""
        reason = HTTPStatus(code).phrase
        given = {"Content-Length": str(len(body)), "Connection": "close", **fields}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
        head = "\r\n".join([f"HTTP/1.1 {code} {reason}", *lines, "", ""])
        self.to_client(head.encode() + body)

    def arrived(self) -> None:
        """Wait until the server's kernel has what was sent: a reset forgets what is on its way."""
        deadline = time.monotonic() + ARRIVAL
        while time.monotonic() < deadline:
            (waiting,) = struct.unpack("i", fcntl.ioctl(self._server, termios.TIOCOUTQ, bytes(4)))
            if not waiting:
                return
            time.sleep(0.005)

    def idle(self, seconds: float) -> bool:
        """Do nothing for so long, or until the client has gone; says whether it is still there."""
        poll = select.poll()
        poll.register(self._client, select.POLLRDHUP)
        return not poll.poll(seconds * 1000)

    def end(self, *, rudely: bool = False) -> None:
        """Close both connections, or reset them."""
        for each in self._open:
            close(each, rudely=rudely)

    def interrupt(self) -> None:
        """End whatever another thread waits for in this exchange."""
        for each in self._open:
            wake(each)

    @property
    def _open(self) -> list[socket.socket]:
        server = self.__dict__.get("_server")
        return [self._client, server] if server else [self._client]
