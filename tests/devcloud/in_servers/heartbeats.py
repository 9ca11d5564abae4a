"""Octavia's health manager, and amphorae that send it the heartbeats of their listeners.

The receiver is Octavia's own UDPStatusGetter with what it writes, one heartbeat after the other in
place of its processes. The senders are stand-ins: each amphora
of an ACTIVE load balancer sends until statistics of its listeners are there, unless it is muted.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from octavia.amphorae.backends.health_daemon import status_message
from octavia.amphorae.drivers.health import heartbeat_udp
from octavia.db import api
from oslo_config import cfg
from sqlalchemy import text
from sqlalchemy.engine import make_url

PACE = 0.1
"""Seconds between two looks for amphorae whose heartbeats have not arrived."""
SERVING = text(
    "SELECT amphora.id, amphora.load_balancer_id, listener.id FROM amphora"
    " JOIN listener ON listener.load_balancer_id = amphora.load_balancer_id"
    " JOIN load_balancer ON load_balancer.id = amphora.load_balancer_id"
    " WHERE amphora.status = 'ALLOCATED' AND listener.enabled"
    " AND load_balancer.provisioning_status = 'ACTIVE' AND NOT EXISTS (SELECT 1 FROM"
    " listener_statistics AS seen WHERE seen.amphora_id = amphora.id AND seen.listener_id ="
    " listener.id)"
)

_changed = threading.Condition()
_busy: list[bool] = []
"""One entry for each piece of work of Octavia's own that may write."""

muted: set[str] = set()
"""Load balancers whose amphorae send nothing; "*" mutes all."""


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Keep heartbeats from being recorded in the block: SQLite has one writer at a time.

    Octavia reads, then writes; what another writer changed in between is an error to it.
    """
    with _changed:
        _busy.append(True)
    try:
        yield
    finally:
        with _changed:
            _busy.pop()
            _changed.notify_all()


def busy_while(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with `busy` around it."""

    @functools.wraps(work)
    def wrapped(*given: Any, **named: Any) -> Any:
        with busy():
            return work(*given, **named)

    return wrapped


class _AtOnce:
    """What has the form of an executor, and does at once what it is given."""

    def __init__(self, **_options: Any) -> None:
        pass

    def submit(self, work: Callable[..., object], *given: Any) -> None:
        with _changed:
            if _changed.wait_for(lambda: not _busy, timeout=PACE):
                work(*given)  # else it is sent again


def start() -> None:
    """Receive and send, in threads, as long as the process lives."""
    # The health manager leaves readers behind, for which a writer's commit would wait.
    database = make_url(cfg.CONF.database.connection).database
    with contextlib.closing(sqlite3.connect(str(database))) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    heartbeat_udp.futures.ProcessPoolExecutor = _AtOnce
    receiver = heartbeat_udp.UDPStatusGetter()
    port = receiver.sock.getsockname()[1]
    for name, work in {"receive": lambda: _receive(receiver), "send": lambda: _send(port)}.items():
        threading.Thread(target=work, name=f"heartbeats {name}", daemon=True).start()


def _receive(receiver: Any) -> None:
    while True:
        receiver.check()


def _send(port: int) -> None:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    while True:
        time.sleep(PACE)
        served: dict[str, set[str]] = {}
        with api.session().begin() as session:
            for amphora, load_balancer, listener in session.execute(SERVING):
                if not {load_balancer, "*"} & muted:
                    served.setdefault(amphora, set()).add(listener)
        for amphora, listeners in served.items():
            sender.sendto(_heartbeat(amphora, listeners), ("127.0.0.1", port))


def _heartbeat(amphora: str, listeners: set[str]) -> bytes:
    stats = {"tx": 1, "rx": 1, "conns": 0, "totconns": 1, "ereq": 0}
    message = {
        "id": amphora,
        "seq": 1,
        "ver": 3,
        "listeners": {each: {"status": "OPEN", "stats": stats} for each in listeners},
        "pools": {},
    }
    envelope: bytes = status_message.wrap_envelope(message, cfg.CONF.health_manager.heartbeat_key)
    return envelope
