"""octavia-api for gunicorn, with Octavia's controller worker beside it in the one process.

OCTAVIA_CONF names the configuration file. Compute, network and amphorae are Octavia's own no-op
drivers; which image an amphora starts from is what Octavia's own Glance driver chooses.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import sys
from pathlib import Path
from typing import Any

CONF_FILE = Path(os.environ["OCTAVIA_CONF"])
# octavia.wsgi.api would take gunicorn's arguments for Octavia's.
sys.argv = ["octavia-api", "--config-file", str(CONF_FILE)]

import oslo_messaging  # noqa: E402
import sqlite_writers  # noqa: E402
from octavia.common import config, constants, rpc  # noqa: E402, F401  (config registers options)
from octavia.compute.drivers.noop_driver import driver as compute  # noqa: E402
from octavia.image.drivers.glance_driver import ImageManager  # noqa: E402
from octavia.network.drivers.noop_driver import driver as network  # noqa: E402
from oslo_config import cfg  # noqa: E402
from sqlalchemy.engine import make_url  # noqa: E402

# Octavia sets ten seconds, which SQLAlchemy refuses for a file; a configuration cannot say none.
cfg.CONF.set_default("pool_timeout", None, group="database")


# The no-op network's database has its own way.
_ours = make_url(cfg.CONF.database.connection).database
sqlite_writers.wait_for_each_other(lambda database: database == _ours)

# The no-op drivers keep what they pretend in /tmp, for all the clouds of a machine.
for module in (compute, network):
    module.create_engine = functools.partial(
        lambda create, _url, **options: create(
            f"sqlite:///{CONF_FILE.with_name('pretended.db')}", **options
        ),
        module.create_engine,
    )


_started: dict[str, tuple[str, str]] = {}
"""Server -> the image it started from, and its address."""
_addresses = (f"127.3.{number // 250}.{number % 250 + 1}" for number in itertools.count())


class Compute(compute.NoopComputeDriver):  # type: ignore[misc, unused-ignore]
    """A Nova whose servers are up at once, each from the image that Octavia's driver finds."""

    def build(self, *given: Any, **named: Any) -> str:
        # The order of nova_driver.build, which looks the image up at its beginning.
        image = ImageManager().get_image_id_by_tag(named["image_tag"], named["image_owner"])
        server: str = super().build(*given, **named)
        _started[server] = (image, next(_addresses))
        return server

    def get_amphora(self, compute_id: str, *given: Any, **named: Any) -> Any:
        amphora, fault = super().get_amphora(compute_id, *given, **named)
        if compute_id in _started:
            amphora.image_id, amphora.lb_network_ip = _started[compute_id]
        return amphora, fault


compute.NoopComputeDriver = Compute  # the entry point `compute_noop_driver` names it there

import octavia_rows  # noqa: E402
from command_line import CommandLine  # noqa: E402
from octavia.controller.queue.v2.endpoints import Endpoints  # noqa: E402
from octavia.wsgi.api import application as octavia_api  # noqa: E402

octavia_rows.make_tables()
BEATING = bool(os.environ.get("OCTAVIA_HEARTBEATS"))
if BEATING:
    import heartbeats

    for name in vars(Endpoints):
        if inspect.isfunction(getattr(Endpoints, name)) and not name.startswith("_"):
            setattr(Endpoints, name, heartbeats.busy_while(getattr(Endpoints, name)))
_worker = rpc.get_server(
    oslo_messaging.Target(topic=constants.TOPIC_AMPHORA_V2, server=cfg.CONF.host, fanout=False),
    [Endpoints()],
)
_worker.start()

if BEATING:
    heartbeats.start()

    def application(environ: dict[str, Any], start: Any) -> Any:
        if environ["REQUEST_METHOD"] == "GET":
            return _answers(environ, start)
        with heartbeats.busy():
            return _answers(environ, start)

    _answers = CommandLine(octavia_api, octavia_rows)
else:
    application = CommandLine(octavia_api, octavia_rows)
