"""SQLite databases that several requests write to at once, in the servers' processes.

A transaction that begins by reading and goes on to write fails with "database is locked" when
another wrote in between, whatever the timeout, and the server answers 500: Glance at two uploads,
Keystone at a user's first two logins of a day. One that takes the write lock at its beginning
waits for it instead. oslo.db leaves out its own BEGIN where `in_transaction` is set.

SQLite itself lets the next one in by chance: who waits looks again after up to 100 ms, and where
many write, one that looks at the wrong moments is refused after half a minute. Threads of one
process stand in line before that, first come, first served.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

PATIENCE = 30.0
"""Seconds in line, after which a transaction tries its luck: another's may never end."""


class Line:
    """A lock that goes to who has waited longest; threading.Lock goes to whoever comes by."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    def acquire(self, timeout: float) -> bool:
        """Return False where it was not one's turn for so many seconds."""
        turn = threading.Event()
        with self._mutex:
            if not self._taken:
                self._taken = True
                return True
            self._waiting.append(turn)
        if turn.wait(timeout):
            return True
        with self._mutex:
            if turn.is_set():
                return True
            self._waiting.remove(turn)
            return False

    def release(self) -> None:
        """Let the next one have it."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False


_lines: dict[str | None, Line] = defaultdict(Line)
"""Database, by its path -> what the transaction that writes to it holds."""
_writing: set[int] = set()
"""Threads that are in such a transaction."""


def wait_for_each_other(concerns: Callable[[str | None], bool] = lambda _database: True) -> None:
    """Have the transactions of this process take the write lock at their beginning.

    Not those on a database, given by its path, that `concerns` says no of; and not one within
    another of the same thread, which would wait for itself: Octavia's API now and then reads by a
    second connection while it writes.
    """

    @event.listens_for(Engine, "begin")  # type: ignore[untyped-decorator, unused-ignore]
    def _take(connection: Connection) -> None:
        database, thread = connection.engine.url.database, threading.get_ident()
        if connection.dialect.name != "sqlite" or not concerns(database):
            return
        if "in_transaction" in connection.info or thread in _writing:
            return
        line = _lines[database]
        held = line.acquire(timeout=PATIENCE)
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except BaseException:
            if held:
                line.release()
            raise
        _writing.add(thread)
        connection.info.update(in_transaction=True, writer=(thread, line if held else None))

    @event.listens_for(Engine, "commit")  # type: ignore[untyped-decorator, unused-ignore]
    @event.listens_for(Engine, "rollback")  # type: ignore[untyped-decorator, unused-ignore]
    def _give_back(connection: Connection) -> None:
        thread, line = connection.info.pop("writer", (None, None))
        _writing.discard(thread)
        if line is not None:
            line.release()
