"""Who holds a lock on a server: a note beside it, that ends with its lease.

tooz tells nobody which member has a lock. ZooKeeper's locks carry the name of the member;
for Redis and etcd a second key does.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

NOTE = b"retrofit-holder:"
"""Begins the key of the note; the rest is the name of the lock."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that holds a lock, and its host."""

    host: str
    pid: int

    def phrase(self) -> str:
        """Return it as part of a sentence."""
        return f"process {self.pid} on {self.host}"


def member() -> bytes:
    """Return a name of this process that no other one has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}".encode()


def read_member(name: bytes | str | None) -> Holder | None:
    """Return the process that a member's name is of; None for another form."""
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")
    host, pid, token = [*text.rsplit("-", 2), "", ""][:3]
    return Holder(host=host, pid=int(pid)) if host and pid.isdigit() and token else None


def write_note(url: str, coordinator: Any, lock: Any, lease: int) -> None:
    """Write that this process has a lock, or still has it. Raises what the drivers raise."""
    match urlsplit(url).scheme:
        case "redis":
            coordinator._client.set(NOTE + lock.name, member(), ex=lease)
        case "etcd3+http" | "etcd3+https":
            coordinator.client.put(NOTE + lock.name, member(), lease=lock._lease)


def erase_note(url: str, coordinator: Any, lock: Any) -> None:
    """Erase the note of a lock that is about to be released. Raises what the drivers raise."""
    match urlsplit(url).scheme:
        case "redis":
            coordinator._client.delete(NOTE + lock.name)
        case "etcd3+http" | "etcd3+https":
            coordinator.client.delete(NOTE + lock.name)


def look_up(url: str, coordinator: Any, lock: Any) -> Holder | None:
    """Return who has a lock; None where nobody does, or it is not known."""
    match urlsplit(url).scheme:
        case "redis":
            return read_member(coordinator._client.get(NOTE + lock.name))
        case "etcd3+http" | "etcd3+https":
            return read_member(next(iter(coordinator.client.get(NOTE + lock.name)), None))
        case _:
            return read_member(next(iter(lock._lock.contenders()), None))
