"""octavia-api for gunicorn, with Octavia's controller worker beside it in the one process.

OCTAVIA_CONF names the configuration. `fake://` carries messages within one process only. All
drivers are those that the configuration names.
"""

import os
import sys

# octavia.wsgi.api would take gunicorn's arguments for Octavia's.
sys.argv = ["octavia-api", "--config-file", os.environ["OCTAVIA_CONF"]]

import octavia_rows  # noqa: E402
import octavia_sqlite  # noqa: E402, F401
import oslo_messaging  # noqa: E402
from octavia.common import constants, rpc  # noqa: E402
from octavia.controller.queue.v2.endpoints import Endpoints  # noqa: E402
from octavia.wsgi.api import application  # noqa: E402, F401
from oslo_config import cfg  # noqa: E402

octavia_rows.make_tables()
_worker = rpc.get_server(
    oslo_messaging.Target(topic=constants.TOPIC_AMPHORA_V2, server=cfg.CONF.host, fanout=False),
    [Endpoints()],
)
_worker.start()
