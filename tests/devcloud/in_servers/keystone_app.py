"""Keystone for gunicorn, on an SQLite database that several requests write to at once."""

from __future__ import annotations

import sys

import sqlite_writers

# keystone.server.configure() calls CONF(), which would take gunicorn's options for Keystone's.
sys.argv = sys.argv[:1]
sqlite_writers.wait_for_each_other()

from keystone.wsgi.api import application  # noqa: E402, F401
