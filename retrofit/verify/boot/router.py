"""The management network's router advertisements (RFC 4861): a prefix for SLAAC, and no route."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv6Network

from retrofit.system.threads import in_background
from retrofit.verify.boot.network import LINK_LOCAL, Cable, Namespace

ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 133, 134
PREFIX_INFORMATION, LINK_MTU = 3, 5
ON_LINK_AND_AUTONOMOUS = 0xC0
LIFETIME = 86400
MTU = 1500
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
ICMP6_FILTER = 1
"""Option of linux/icmpv6.h: Python's socket module has no name for it."""
HOPS = 255
"""A receiver drops any other: it came over a router."""
INTERVAL = 1.0
"""Seconds between two that nobody asked for."""


def advertisement(cable: Cable) -> bytes:
    """Return the message. The kernel computes its checksum.

    A router lifetime of zero: the prefix is on this link, and there is no way out.
    """
    prefix = IPv6Network(cable.cidr6)
    head = struct.pack("!BBHBBHII", ROUTER_ADVERTISEMENT, 0, 0, 64, 0, 0, 0, 0)
    mtu = struct.pack("!BBHI", LINK_MTU, 1, 0, MTU)
    information = struct.pack(
        "!BBBBIII16s", PREFIX_INFORMATION, 4, prefix.prefixlen, ON_LINK_AND_AUTONOMOUS,
        LIFETIME, LIFETIME, 0, prefix.network_address.packed,
    )  # fmt: skip
    return head + mtu + information


@contextmanager
def advertised(namespace: Namespace, cable: Cable) -> Iterator[threading.Event]:
    """Advertise the cable's prefix for the length of the block; the event is set when asked to."""
    asked = threading.Event()
    message = advertisement(cable)
    sender = namespace.open_socket(socket.SOCK_RAW, ipv6=True, protocol=socket.IPPROTO_ICMPV6)

    def advertise(over: threading.Event) -> None:
        while not over.is_set():
            # Before the machine is switched on, the cable's other end has nobody.
            with suppress(OSError):
                sender.sendto(message, (ALL_NODES, 0, 0, index))
            with suppress(OSError):
                received, _ = sender.recvfrom(4096)
                if received[:1] == bytes([ROUTER_SOLICITATION]):
                    asked.set()

    with sender:
        index = namespace.index_of(cable.device)
        group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("@I", index)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOPS)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, cable.device.encode())
        # Only solicitations: neighbours ask and answer on this network all the time.
        sender.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, _only(ROUTER_SOLICITATION))
        sender.bind((LINK_LOCAL, 0, 0, index))
        sender.settimeout(INTERVAL)
        with in_background(advertise, name="router"):
            yield asked


def _only(kind: int) -> bytes:
    """Return a filter that lets one type of ICMPv6 messages pass: bits that are set block."""
    blocked = [0xFFFFFFFF] * 8
    blocked[kind >> 5] &= ~(1 << (kind & 31)) & 0xFFFFFFFF
    return struct.pack("=8I", *blocked)
