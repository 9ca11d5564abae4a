"""How to ask each lock server whether a lock is still ours, and to renew its lease.

tooz's own `lock.acquired` stays true in a process that slept past its lease, and its heartbeat
hides that a lease was lost. Redis has public methods for both. For etcd tooz has neither question,
and for ZooKeeper it lets nobody ask whether the session is connected; so `_etcd`, `_zookeeper` and
`decode_credentials` use private attributes of tooz's, and tests/integration/test_lock.py fails
against the real servers when an update of tooz moves them.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

from tooz import coordination

REQUESTS_PER_LEASE = 6
"""How many requests to the server may time out within a lease."""


def driver_options(url: str, lease: int) -> dict[str, Any]:
    """Return the options that give a driver's locks a lease of `lease` seconds."""
    timeout = max(lease // REQUESTS_PER_LEASE, 1)
    match urlsplit(url).scheme:
        case "redis":
            return {
                "lock_timeout": lease,
                "membership_timeout": lease,
                "socket_timeout": timeout,
                "socket_connect_timeout": timeout,
            }
        case "etcd3+http" | "etcd3+https":
            return {"lock_timeout": lease, "membership_timeout": lease, "timeout": timeout}
        case "zookeeper" | "kazoo":
            return {"timeout": lease}
        case unknown:
            raise ValueError(f"no lock server has addresses of {unknown}://")


def decode_credentials(url: str, coordinator: Any) -> None:
    """Let Redis get user and password as they are: tooz passes them on as the URL has them.

    A password with `/` or `@` can be written in no other way than as %2F or %40.
    """
    parts = urlsplit(url)
    if parts.scheme != "redis" or "%" not in parts.netloc:
        return
    coordinator._parsed_url = SimpleNamespace(
        hostname=parts.hostname,
        port=parts.port,
        path=parts.path,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def renewal(url: str, coordinator: Any, lock: Any) -> Callable[[], bool]:
    """Return a function that renews a lock's lease and returns True if the lock is still ours.

    True and False come from the server; the function raises when the server does not answer.
    """
    renew = {
        "redis": _redis,
        "etcd3+http": _etcd,
        "etcd3+https": _etcd,
        "zookeeper": _zookeeper,
        "kazoo": _zookeeper,
    }[urlsplit(url).scheme]
    return lambda: renew(coordinator, lock)


def _redis(_coordinator: Any, lock: Any) -> bool:
    # heartbeat() is a script that compares the token again and renews the time to live.
    return bool(lock.is_still_owner() and lock.heartbeat())


def _etcd(coordinator: Any, lock: Any) -> bool:
    # The driver's heartbeat() drops the answer, which is -1 for a lease that has ended.
    if lock._lease.refresh() <= 0:
        return False
    holds_our_token = {
        "key": lock._key_b64, "result": "EQUAL", "target": "VALUE", "value": lock._uuid,
    }  # fmt: skip
    answer = coordinator.client.transaction(
        {"compare": [holds_our_token], "success": [], "failure": []}
    )
    return bool(answer.get("succeeded", False))


def _zookeeper(coordinator: Any, lock: Any) -> bool:
    # The lease is the session's; kazoo renews it. Followers may answer with old data: sync has the
    # one that we are connected to catch up with the leader.
    client = coordinator._coord
    client.sync(lock._lock.path)
    if lock.is_still_owner():
        return True
    if not client.connected:
        raise coordination.ToozConnectionError("no connection to ZooKeeper")
    return False
