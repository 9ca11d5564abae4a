"""Keystone for gunicorn: Keystone reads its configuration with the WSGI server's own arguments."""

from __future__ import annotations

import sys

# keystone.server.configure() calls CONF(), which would take gunicorn's options for Keystone's.
sys.argv = sys.argv[:1]

from keystone.wsgi.api import application  # noqa: E402, F401
