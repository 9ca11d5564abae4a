"""As much of SCTP (RFC 9260) as shows that an association can be opened: INIT and INIT ACK.

By raw sockets, since few kernels have SCTP loaded. Where ours has, it answers an INIT to a port
that it does not know with an ABORT, so that the member is a socket of the kernel then.
"""

from __future__ import annotations

import secrets
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from retrofit.verify.boot.members import answering
from retrofit.verify.boot.network import Namespace

INIT, INIT_ACK, ABORT = 1, 2, 6
STATE_COOKIE = 7
COOKIE = b"retrofit"
WINDOW = 106496
STREAMS = 10
HEADER = struct.Struct("!HHLL")
BODY = struct.Struct("!LLHHL")
"""Of INIT and INIT ACK: tag, window, outgoing and incoming streams, first sequence number."""
POLYNOMIAL = 0x82F63B78
"""CRC-32C (Castagnoli), reflected."""


def _table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        value = number
        for _ in range(8):
            value = (value >> 1) ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


TABLE = _table()


def crc32c(data: bytes) -> int:
    """Return the checksum of SCTP over a packet whose own checksum is zero."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Packet:
    """An SCTP packet and its first chunk. `initiate_tag` is that of an INIT or INIT ACK."""

    source: int
    destination: int
    tag: int
    chunk: int
    initiate_tag: int = 0

    @classmethod
    def read(cls, data: bytes, *, ipv6: bool = False) -> Packet | None:
        """Return the packet of what a raw socket received; None when it is no SCTP.

        With `ipv6`, of a socket of that family: its packets come without the header of IP.
        """
        start = 0 if ipv6 or not data else (data[0] & 15) * 4
        if len(data) < start + HEADER.size + 4:
            return None
        source, destination, tag, _ = HEADER.unpack_from(data, start)
        chunk = data[start + HEADER.size]
        body = data[start + HEADER.size + 4 :]
        initiate = 0
        if chunk in (INIT, INIT_ACK):
            if len(body) < BODY.size:
                return None
            initiate = BODY.unpack_from(body)[0]
        return cls(
            source=source, destination=destination, tag=tag, chunk=chunk, initiate_tag=initiate
        )

    def encoded(self) -> bytes:
        """Return an INIT, or an INIT ACK with the cookie that it needs, with its checksum."""
        body = BODY.pack(self.initiate_tag, WINDOW, STREAMS, STREAMS, 1)
        if self.chunk == INIT_ACK:
            body += struct.pack("!HH", STATE_COOKIE, 4 + len(COOKIE)) + COOKIE
        chunk = struct.pack("!BBH", self.chunk, 0, 4 + len(body)) + body
        bare = HEADER.pack(self.source, self.destination, self.tag, 0) + chunk
        # The one field of a packet in little-endian order.
        return bare[:8] + struct.pack("<L", crc32c(bare)) + bare[12:]


def kernel_has_sctp(namespace: Namespace) -> bool:
    """Return True if our kernel answers SCTP by itself."""
    try:
        namespace.open_socket(socket.SOCK_STREAM, protocol=socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


@contextmanager
def sctp_member(namespace: Namespace, address: str, port: int) -> Iterator[list[str]]:
    """Answer an INIT to the port, for the length of the block; yields the senders' addresses.

    Where the kernel answers, the list stays empty.
    """
    senders: list[str] = []
    ipv6 = ":" in address
    if kernel_has_sctp(namespace):
        with namespace.open_socket(
            socket.SOCK_STREAM, ipv6=ipv6, protocol=socket.IPPROTO_SCTP
        ) as listener:
            listener.bind((address, port))
            listener.listen()
            yield senders
        return

    def answer(server: socket.socket) -> None:
        data, sender = server.recvfrom(4096)
        asked = Packet.read(data, ipv6=ipv6)
        if asked is not None and asked.chunk == INIT and asked.destination == port:
            senders.append(sender[0])
            acknowledged = Packet(
                source=port,
                destination=asked.source,
                tag=asked.initiate_tag,
                chunk=INIT_ACK,
                initiate_tag=secrets.randbits(31) + 1,
            )
            server.sendto(acknowledged.encoded(), (sender[0], 0))

    with namespace.open_socket(socket.SOCK_RAW, ipv6=ipv6, protocol=socket.IPPROTO_SCTP) as server:
        server.bind((address, 0))
        with answering(server, answer):
            yield senders


def initiate(
    namespace: Namespace, ours: str, address: str, port: int, *, timeout: float
) -> int | None:
    """Send an INIT and return the chunk that came back: INIT_ACK, ABORT, or None for silence."""
    source, tag = secrets.randbelow(20000) + 40000, secrets.randbits(31) + 1
    message = Packet(source=source, destination=port, tag=0, chunk=INIT, initiate_tag=tag).encoded()
    end = time.monotonic() + timeout
    ipv6 = ":" in address
    with namespace.open_socket(socket.SOCK_RAW, ipv6=ipv6, protocol=socket.IPPROTO_SCTP) as client:
        client.bind((ours, 0))
        client.sendto(message, (address, 0))
        while (left := end - time.monotonic()) > 0:
            client.settimeout(left)
            try:
                data, sender = client.recvfrom(4096)
            except TimeoutError:
                break
            answer = Packet.read(data, ipv6=ipv6)
            if answer is None or sender[0] != address:
                continue
            if (answer.source, answer.destination, answer.tag) == (port, source, tag):
                return answer.chunk
    return None
