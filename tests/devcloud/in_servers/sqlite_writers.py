"""SQLite databases that several requests write to at once, in the servers' processes.

A transaction that begins by reading and goes on to write fails with "database is locked" when
another wrote in between, whatever the timeout, and the server answers 500: Glance at two uploads,
Keystone at a user's first two logins of a day. One that takes the write lock at its beginning
waits for it instead. oslo.db leaves out its own BEGIN where `in_transaction` is set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

_thread = threading.local()


def wait_for_each_other(concerns: Callable[[str | None], bool] = lambda _database: True) -> None:
    """Have the transactions of this process take the write lock at their beginning.

    Not those on a database, given by its path, that `concerns` says no of; and not one within
    another of the same thread, which would wait for itself: Octavia's API now and then reads by a
    second connection while it writes.
    """

    @event.listens_for(Engine, "begin")  # type: ignore[untyped-decorator, unused-ignore]
    def _take(connection: Connection) -> None:
        if connection.dialect.name != "sqlite" or not concerns(connection.engine.url.database):
            return
        if "in_transaction" in connection.info or getattr(_thread, "writer", None) is not None:
            return
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.info["in_transaction"] = True
        _thread.writer = connection

    @event.listens_for(Engine, "commit")  # type: ignore[untyped-decorator, unused-ignore]
    @event.listens_for(Engine, "rollback")  # type: ignore[untyped-decorator, unused-ignore]
    def _give_back(connection: Connection) -> None:
        if getattr(_thread, "writer", None) is connection:
            _thread.writer = None
