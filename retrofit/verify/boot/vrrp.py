"""The other amphora of a pair, played by us: VRRPv2 (RFC 3768) as keepalived speaks it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from retrofit.system.threads import in_background
from retrofit.verify.boot.network import Namespace

PROTOCOL = 112
VERSION_AND_TYPE = 0x21
"""Version 2, type 1: an advertisement."""
PASSWORD_AUTHENTICATION = 1
TTL = 255
"""A receiver drops any other: it came over a router."""
HEAD = struct.Struct("!BBBBBBH")


@dataclass(frozen=True, kw_only=True)
class Advertisement:
    """One advertisement of a virtual router's master."""

    router: int
    priority: int
    interval: int
    addresses: tuple[str, ...]
    password: str

    def encoded(self) -> bytes:
        """Return the message with its checksum."""
        addresses = b"".join(socket.inet_aton(each) for each in self.addresses)
        head = HEAD.pack(
            VERSION_AND_TYPE, self.router, self.priority, len(self.addresses),
            PASSWORD_AUTHENTICATION, self.interval, 0,
        )  # fmt: skip
        message = head + addresses + self.password.encode().ljust(8, b"\0")[:8]
        return message[:6] + struct.pack("!H", checksum(message)) + message[8:]

    @classmethod
    def read(cls, packet: bytes) -> Advertisement | None:
        """Return what a raw IPv4 socket received; None when it is no advertisement."""
        start = (packet[0] & 15) * 4 if packet else 0
        message = packet[start:]
        if len(message) < HEAD.size or message[0] != VERSION_AND_TYPE:
            return None
        _, router, priority, count, _, interval, _ = HEAD.unpack_from(message)
        end = HEAD.size + 4 * count
        if len(message) < end + 8:
            return None
        addresses = [message[at : at + 4] for at in range(HEAD.size, end, 4)]
        return cls(
            router=router,
            priority=priority,
            interval=interval,
            addresses=tuple(socket.inet_ntoa(each) for each in addresses),
            password=message[end : end + 8].rstrip(b"\0").decode(errors="replace"),
        )


def checksum(message: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of a message whose own checksum is zero."""
    total: int = sum(word for (word,) in struct.iter_unpack("!H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Peer:
    """Our end: it hears the amphora's advertisements, and sends its own to be master."""

    def __init__(self, namespace: Namespace, ours: str, theirs: str) -> None:
        self._theirs = theirs
        self._socket = namespace.open_socket(socket.SOCK_RAW, protocol=PROTOCOL)
        self._socket.bind((ours, 0))
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def hear(self, timeout: float) -> Advertisement | None:
        """Return the amphora's next advertisement; None when there is none in so many seconds."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                packet, sender = self._socket.recvfrom(4096)
            except TimeoutError:
                break
            if sender[0] == self._theirs and (heard := Advertisement.read(packet)) is not None:
                return heard
        return None

    def forget(self) -> None:
        """Drop the advertisements that came meanwhile."""
        self._socket.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(4096)

    @contextmanager
    def master(self, advertised: Advertisement) -> Iterator[None]:
        """Advertise ourselves for the length of the block."""
        message = advertised.encoded()

        def advertise(over: threading.Event) -> None:
            while True:
                with suppress(OSError):
                    self._socket.sendto(message, (self._theirs, 0))
                if over.wait(advertised.interval):
                    return

        with in_background(advertise, name="vrrp"):
            yield
