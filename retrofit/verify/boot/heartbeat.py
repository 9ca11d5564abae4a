"""The amphora's heartbeats, as Octavia's health manager reads them.

Envelope: zlib-compressed JSON, then a hexadecimal HMAC-SHA256 of the compressed bytes
(`octavia/amphorae/backends/health_daemon/status_message.py`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import time
import zlib
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from retrofit.verify.checks import CheckFailedError

Message = dict[str, Any]

DIGEST_LENGTH = 64
VERSION = 3
LARGEST = 1024 * 1024
"""Bytes of a message: one of a thousand listeners has less, and a packet may unpack to 64 MiB."""


def decode(envelope: bytes, key: str) -> Message:
    """Authenticate a heartbeat and return its message.

    Raises ValueError or TypeError with the reason.
    """
    payload, digest = envelope[:-DIGEST_LENGTH], envelope[-DIGEST_LENGTH:]
    expected = hmac.new(key.encode(), payload, hashlib.sha256).hexdigest().encode()
    if not hmac.compare_digest(digest, expected):
        raise ValueError("its HMAC is not made with the heartbeat key")
    try:
        # Of a longer one the rest stays packed, and the beginning is no JSON.
        message = json.loads(zlib.decompressobj().decompress(payload, LARGEST))
    except (zlib.error, ValueError, RecursionError) as error:
        raise ValueError(f"its content cannot be read: {error}") from error
    if not isinstance(message, dict):
        raise TypeError("its content is not an object")
    return message


def await_heartbeat(
    listener: socket.socket,
    *,
    key: str,
    amphora_id: str,
    timeout: float,
    listeners: Collection[str] = (),
    lacks: Callable[[Message], str | None] = lambda _message: None,
) -> Message:
    """Wait up to `timeout` seconds for a heartbeat that is authentic and this amphora's.

    With `listeners`, for one that reports all of these load balancer listeners as open; `lacks`
    returns what a heartbeat is still missing.

    Raises CheckFailedError with what came instead.
    """
    deadline = time.monotonic() + timeout
    came, wrong = 0, ""
    while (left := deadline - time.monotonic()) > 0:
        listener.settimeout(left)
        try:
            envelope = listener.recv(65536)
        except TimeoutError:
            break
        came += 1
        try:
            message = decode(envelope, key)
        except (ValueError, TypeError) as error:
            wrong = str(error)
            continue
        if message.get("id") != amphora_id:
            wrong = f"it is of amphora {message.get('id')}"
        elif message.get("ver") != VERSION:
            wrong = f"it is of version {message.get('ver')}, expected {VERSION}"
        elif closed := [each for each in listeners if not _is_open(message, each)]:
            wrong = f"it does not report listener {closed[0]} as OPEN"
        elif missing := lacks(message):
            wrong = missing
        else:
            return message
    reason = f"{came} came, and {wrong}" if came else "none came"
    raise CheckFailedError(f"no heartbeat within {timeout:g} s: {reason}")


def forget(listener: socket.socket) -> None:
    """Drop the heartbeats that came meanwhile: they are of the past."""
    listener.settimeout(0)
    with suppress(BlockingIOError):
        while True:
            listener.recv(65536)


def member_states(message: Message, pool: str) -> dict[str, str]:
    """Return the states of a pool's members by their ids. The agent adds the listener's id."""
    pools = message.get("pools")
    for name, entry in pools.items() if isinstance(pools, dict) else ():
        if name.partition(":")[0] == pool and isinstance(entry, dict):
            members = entry.get("members")
            if isinstance(members, dict):
                return {str(each): str(state) for each, state in members.items()}
    return {}


def statistics(message: Message, listener: str) -> dict[str, int]:
    """Return a listener's counters: `tx`, `rx` (bytes), `conns`, `totconns`, `ereq`."""
    listeners = message.get("listeners")
    entry = listeners.get(listener) if isinstance(listeners, dict) else None
    stats = entry.get("stats") if isinstance(entry, dict) else None
    if not isinstance(stats, dict):
        return {}
    return {str(name): value for name, value in stats.items() if isinstance(value, int)}


def _is_open(message: Message, listener: str) -> bool:
    reported = message.get("listeners")
    entry = reported.get(listener) if isinstance(reported, dict) else None
    return isinstance(entry, dict) and entry.get("status") == "OPEN"
