"""Glance for gunicorn, on an SQLite database that several requests write to at once."""

from __future__ import annotations

import own_schemas
import sqlite_writers

own_schemas.check_once()
sqlite_writers.wait_for_each_other()

from glance.wsgi.api import application  # noqa: E402, F401
