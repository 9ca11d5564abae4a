"""The management network's DHCP server (RFC 2131): one client, one address, no router."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network

from retrofit.system.threads import in_background
from retrofit.verify.boot.network import Cable, Namespace

COOKIE = b"\x63\x82\x53\x63"
FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
BOOTREQUEST, BOOTREPLY = 1, 2
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
PAD, SUBNET_MASK, INTERFACE_MTU, LEASE_TIME, MESSAGE_TYPE, SERVER_ID, END = (
    0, 1, 26, 51, 53, 54, 255,
)  # fmt: skip
LEASE_SECONDS = 86400
MTU = 1500


def reply_to(request: bytes, cable: Cable) -> bytes | None:
    """Answer a DISCOVER or REQUEST of the cable's machine; None to anything else."""
    if len(request) < FIXED.size + len(COOKIE):
        return None
    op, _, hlen, _, xid, _, flags, _, _, _, _, chaddr, _, _ = FIXED.unpack_from(request)
    mac = bytes.fromhex(cable.mac.replace(":", ""))
    if op != BOOTREQUEST or hlen != len(mac) or chaddr[:hlen] != mac:
        return None
    if request[FIXED.size :][: len(COOKIE)] != COOKIE:
        return None
    asked = _options(request[FIXED.size + len(COOKIE) :]).get(MESSAGE_TYPE)
    if asked not in (bytes([DISCOVER]), bytes([REQUEST])):
        return None
    ours = socket.inet_aton(cable.ours)
    answer = OFFER if asked == bytes([DISCOVER]) else ACK
    fixed = FIXED.pack(
        BOOTREPLY, 1, hlen, 0, xid, 0, flags,
        bytes(4), socket.inet_aton(cable.theirs), ours, bytes(4), chaddr, b"", b"",
    )  # fmt: skip
    options = (
        (MESSAGE_TYPE, bytes([answer])),
        (SERVER_ID, ours),
        (LEASE_TIME, struct.pack("!I", LEASE_SECONDS)),
        (SUBNET_MASK, IPv4Network(cable.cidr).netmask.packed),
        (INTERFACE_MTU, struct.pack("!H", MTU)),
    )
    body = b"".join(bytes([code, len(value)]) + value for code, value in options)
    return fixed + COOKIE + body + bytes([END])


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != END:
        if data[at] == PAD:
            at += 1
            continue
        if at + 1 >= len(data):
            break
        length = data[at + 1]
        found[data[at]] = data[at + 2 : at + 2 + length]
        at += 2 + length
    return found


@contextmanager
def served(namespace: Namespace, cable: Cable) -> Iterator[threading.Event]:
    """Serve the cable for the length of the block; the event is set when a lease is given."""
    leased = threading.Event()
    listener = namespace.open_socket(socket.SOCK_DGRAM)

    def answer(over: threading.Event) -> None:
        while not over.is_set():
            try:
                request = listener.recv(4096)
            except TimeoutError:
                continue
            reply = reply_to(request, cable)
            if reply is not None:
                # Broadcast: until it has a lease, the client has no address to be reached at.
                listener.sendto(reply, ("255.255.255.255", 68))
                leased.set()

    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, cable.device.encode())
        listener.bind(("0.0.0.0", 67))  # noqa: S104 -- inside a namespace, on one device
        listener.settimeout(0.5)
        with in_background(answer, name="dhcp"):
            yield leased
