"""neutron-api for gunicorn, with ML2 and no driver: networks, addresses and quotas, no wires.

OS_NEUTRON_CONFIG_DIR holds neutron.conf and api-paste.ini.
"""

from __future__ import annotations

import os
import sys

import sqlite_writers

# Neutron would take gunicorn's arguments for its own.
sys.argv = sys.argv[:1]
sqlite_writers.wait_for_each_other()

from neutron.db.migration.models import head  # noqa: E402
from sqlalchemy import create_engine  # noqa: E402

_engine = create_engine(f"sqlite:///{os.environ['OS_NEUTRON_CONFIG_DIR']}/neutron.db?timeout=30")
head.get_metadata().create_all(_engine)
_engine.dispose()

from neutron.wsgi.api import application  # noqa: E402, F401
