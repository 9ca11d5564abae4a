"""Glance for gunicorn, on an SQLite database that several requests write to at once.

A transaction that begins by reading and goes on to write fails with "database is locked" when
another wrote in between, whatever the timeout, and Glance answers 500. One that takes the write
lock at its beginning waits for it instead. oslo.db leaves out its own BEGIN where `in_transaction`
is set.
"""

from __future__ import annotations

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine


@event.listens_for(Engine, "begin")  # type: ignore[untyped-decorator, unused-ignore]
def _take_write_lock(connection: Connection) -> None:
    if connection.dialect.name == "sqlite" and "in_transaction" not in connection.info:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.info["in_transaction"] = True


from glance.wsgi.api import application  # noqa: E402, F401
