"""Renders the load balancers of an Octavia's database, by the code of one release.

    python in_database.py DATABASE HAPROXY_VERSION

PYTHONPATH names the code, as for in_octavia.py. Prints the configurations as JSON, by the id of the
load balancer; of those that HAProxy serves, as `update_amphora_listeners` of its driver does.
"""

from __future__ import annotations

import inspect
import json
import sys
import warnings

warnings.simplefilter("ignore")

from octavia.common import constants  # noqa: E402
from octavia.common.config import cfg  # noqa: E402
from octavia.common.jinja.haproxy.combined_listeners.jinja_cfg import JinjaTemplater  # noqa: E402
from octavia.db import api, repositories  # noqa: E402


def main(database: str, haproxy: list[str]) -> None:
    cfg.CONF([], project="octavia", default_config_files=[])
    cfg.CONF.set_override("connection", database, group="database")
    # SQLite's pool does not know it.
    cfg.CONF.set_default("pool_timeout", None, group="database")
    templater = JinjaTemplater(
        base_amp_path="/var/lib/octavia",
        base_crt_dir="/var/lib/octavia/certs",
        log_server="/run/rsyslog/octavia/log",
    )
    takes_details = "amp_details" in inspect.signature(templater.build_config).parameters
    details = {"amp_details": None} if takes_details else {}
    texts = {}
    with api.session().begin() as session:
        found, _ = repositories.LoadBalancerRepository().get_all(session, show_deleted=False)
        for each in found:
            listeners = [
                listener
                for listener in each.listeners
                if listener.protocol not in {"UDP", "SCTP"} and listener.enabled
            ]
            amphorae = [a for a in each.amphorae if a.status == constants.AMPHORA_ALLOCATED]
            if listeners and amphorae:
                texts[each.id] = templater.build_config(
                    amphorae[0], listeners, tls_certs=None, haproxy_versions=haproxy, **details
                )
    print(json.dumps(texts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split("."))
