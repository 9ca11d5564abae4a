"""nova-api for gunicorn; its hypervisors and servers are rows: nova_rows.py.

OS_NOVA_CONFIG_DIR holds nova.conf and api-paste.ini.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Nova would take gunicorn's arguments for its own.
sys.argv = sys.argv[:1]

from nova import monkey_patch  # noqa: E402

monkey_patch.patch(backend="threading")  # as Nova's own entry point does, before all else

import sqlite_writers  # noqa: E402

sqlite_writers.wait_for_each_other()

import nova_rows  # noqa: E402
from command_line import CommandLine  # noqa: E402

nova_rows.make_tables(Path(os.environ["OS_NOVA_CONFIG_DIR"]))

from nova.network import security_group_api  # noqa: E402
from nova.wsgi.osapi_compute import application as nova_api  # noqa: E402

# To show a server Nova asks Neutron for its security groups, which nobody reads here.
security_group_api._get_ports_from_server_list = lambda _servers, _neutron: []

nova_rows.make_cell()
application = CommandLine(nova_api, nova_rows)
