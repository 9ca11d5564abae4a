"""Connections of the status page under load: a time for each request, a share for each peer.

A client that sends, or reads, a byte now and then is active to a server that measures silence. A
hundred of them were all its connections: probes and metrics were gone for everybody.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable
from typing import Any

import structlog
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer

log = structlog.get_logger(__name__)

HEAD_SECONDS = 10.0
"""From the first byte of a request, or from the connection, to the end of the request's head."""
CONNECTIONS = 100
"""Open at a time. Another one takes the place of that which has kept us waiting the longest."""
SHARE = 25
"""Of them, those of one peer: an IPv4 address, or an IPv6 network of 64 bits."""
GRACE = 1.0
"""Seconds that a request takes to arrive, of a client that means it."""
BETWEEN_WARNINGS = 60.0
"""Seconds between two log lines of closed connections."""


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """One connection, with the time since which it keeps us waiting for a request."""

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:  # noqa: A002
        super().__init__(server, sock, addr, adj, map=map)
        self.waiting_since = time.monotonic()
        self.peer = peer_of(addr)

    def received(self, data: bytes) -> Any:
        """Take bytes, and begin to count with the first one of a request."""
        if self.request is None:
            self.waiting_since = time.monotonic()
        return super().received(data)

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Return a smaller value for what may rather be closed, the oldest of each kind first.

        First what sends no request, then what does not read its answer. What has just come is on
        its way to send one: of such, what has an answer already goes first.
        """
        is_new = time.monotonic() - self.waiting_since < GRACE
        has_answer = bool(self.total_outbufs_len)
        return is_new, has_answer != is_new, self.waiting_since

    @property
    def is_late(self) -> bool:
        """Return True if a request was begun, or none ever was, and its time is over."""
        began = self.request is not None or self.last_activity == self.creation_time
        idle = not (self.requests or self.total_outbufs_len)
        return idle and began and time.monotonic() - self.waiting_since > HEAD_SECONDS


class Server(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """waitress's server, whose connections are shared out."""

    channel_class = Channel
    _warned_at = 0.0

    def maintenance(self, now: float) -> None:
        """Close silent connections, and those whose request does not come to its end."""
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            if channel.is_late:
                channel.will_close = True

    def handle_accept(self) -> None:
        """Accept a connection; where there are too many, one that keeps us waiting is closed."""
        before = set(self.active_channels.values())
        super().handle_accept()
        for new in set(self.active_channels.values()) - before:
            others = [each for each in before if not each.will_close]
            of_peer = [each for each in others if each.peer == new.peer]
            if len(of_peer) >= SHARE:
                self._drop(of_peer, new)
            elif len(others) >= CONNECTIONS:
                self._drop(others, new)

    def _drop(self, others: Iterable[Channel], new: Channel) -> None:
        """Close the one that has kept us waiting the longest, or the new one where none does."""
        waiting = [each for each in others if not each.requests]
        dropped = min(waiting, key=lambda each: each.rank, default=new)
        dropped.will_close = True  # by the loop: closed here, its descriptor might be another's
        if time.monotonic() - self._warned_at > BETWEEN_WARNINGS:
            self._warned_at = time.monotonic()
            log.warning("too many connections, one is closed", peer=dropped.peer)


def peer_of(addr: Any) -> str:
    """Return whom a connection is counted for."""
    try:
        address = ipaddress.ip_address(str(addr[0]).partition("%")[0])
    except (ValueError, IndexError, TypeError):
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
