"""What each lock server is asked to prove that a lock is still ours, and to keep it so.

tooz's own answer, `lock.acquired`, stays true in a process that slept past its lease; its
heartbeat hides that a lease was lost. So each driver's own means are used, private ones included:
the tests against real servers tell when an update of tooz moves them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tooz import coordination

REQUESTS_PER_LEASE = 6
"""How often within a lease a request to the server may run into its time limit."""


def driver_options(url: str, lease: int) -> dict[str, Any]:
    """Return the options that give a driver's locks a lease of `lease` seconds.

    Databases have none: they free a lock when its connection ends.
    """
    patience = max(lease // REQUESTS_PER_LEASE, 1)
    match urlsplit(url).scheme:
        case "redis":
            return {
                "lock_timeout": lease,
                "membership_timeout": lease,
                "socket_timeout": patience,
                "socket_connect_timeout": patience,
            }
        case "etcd3+http" | "etcd3+https":
            return {"lock_timeout": lease, "membership_timeout": lease, "timeout": patience}
        case "zookeeper" | "kazoo":
            return {"timeout": lease}
        case _:
            return {}


def proves(url: str, coordinator: Any, lock: Any) -> Callable[[], bool]:
    """Return a question to the lock's server: is the lock ours, and for another lease?

    True and False are the server's own answers; it raises when it cannot be asked.
    """
    ask = {
        "redis": _redis,
        "etcd3+http": _etcd,
        "etcd3+https": _etcd,
        "zookeeper": _zookeeper,
        "kazoo": _zookeeper,
        "mysql": _mysql,
        "postgresql": _postgresql,
    }[urlsplit(url).scheme]
    return lambda: ask(coordinator, lock)


def _redis(_coordinator: Any, lock: Any) -> bool:
    # The second is a script that compares the token again and sets the time to live anew.
    return bool(lock.is_still_owner() and lock.heartbeat())


def _etcd(coordinator: Any, lock: Any) -> bool:
    # The driver's heartbeat() drops the answer: -1 from a lease that has ended.
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
    # The session is what has a lease; kazoo keeps it. Followers may answer reads from before:
    # sync lets the one that we are connected to catch up with the leader.
    client = coordinator._coord
    client.sync(lock._lock.path)
    if lock.is_still_owner():
        return True
    if not client.connected:
        raise coordination.ToozConnectionError("no connection to ZooKeeper")
    return False


def _mysql(_coordinator: Any, lock: Any) -> bool:
    with lock._conn.cursor() as cursor:
        cursor.execute("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", (lock.name,))
        (ours,) = cursor.fetchone()
    return bool(ours)


def _postgresql(_coordinator: Any, lock: Any) -> bool:
    # An advisory lock lives as long as its session: whoever answers here still has it.
    with lock._conn.cursor() as cursor:
        cursor.execute("SELECT 1")
    # Or the session would stay in one transaction for hours, which some servers end.
    lock._conn.rollback()
    return True
