"""Octavia's own client drives an amphora; run with a Python that has octavia installed.

Reads a JSON object from stdin (see `Errand`), writes what the amphora said as JSON to stdout.
Nothing of this project is imported: what happens here is Octavia's work alone.
"""

from __future__ import annotations

import json
import sys
from typing import Any, NotRequired, TypedDict

from octavia.amphorae.drivers.haproxy.rest_api_driver import AmphoraAPIClient1_0
from octavia.common import constants
from octavia.common.config import cfg
from octavia.common.jinja.haproxy.combined_listeners.jinja_cfg import JinjaTemplater
from octavia.db import models


class Errand(TypedDict):
    """What is to be done with which amphora."""

    amphora_id: str
    address: str
    port: int
    client_cert: str
    server_ca: str
    load_balancer_id: str
    listener_id: str
    vip: str
    vip_port: int
    net_info: dict[str, Any]
    member: str
    member_port: int
    greet: NotRequired[bool]


def balancer(errand: Errand, amphora: models.Amphora) -> models.LoadBalancer:
    """Describe a load balancer with one HTTP listener and one member, as the database would."""
    member = models.Member(
        id="member", ip_address=errand["member"], protocol_port=errand["member_port"],
        weight=1, enabled=True, backup=False, operating_status=constants.NO_MONITOR,
        provisioning_status=constants.ACTIVE,
    )  # fmt: skip
    pool = models.Pool(
        id="pool", protocol="HTTP", lb_algorithm="ROUND_ROBIN", enabled=True, members=[member],
        operating_status=constants.ONLINE, provisioning_status=constants.ACTIVE,
        tls_enabled=False,
    )  # fmt: skip
    listener = models.Listener(
        id=errand["listener_id"], protocol="HTTP", protocol_port=errand["vip_port"],
        connection_limit=-1, enabled=True, default_pool=pool, insert_headers={}, l7policies=[],
        timeout_client_data=50000, timeout_member_connect=5000, timeout_member_data=50000,
        timeout_tcp_inspect=0, provisioning_status=constants.ACTIVE,
    )  # fmt: skip
    result = models.LoadBalancer(
        id=errand["load_balancer_id"], name="trial", project_id="trial",
        topology=constants.TOPOLOGY_SINGLE, enabled=True, amphorae=[amphora], pools=[pool],
        vip=models.Vip(ip_address=errand["vip"]), listeners=[listener],
    )  # fmt: skip
    listener.load_balancer = result
    return result


def greeting(client: AmphoraAPIClient1_0, amphora: models.Amphora) -> dict[str, Any]:
    """Ask for the version alone; a refused certificate shows as Octavia's own exception."""
    try:
        return {"version": client.get_api_version(amphora)}
    except Exception as error:
        return {"error": type(error).__name__}


def main() -> None:
    """Do the errand, in the order in which Octavia's controller does it."""
    errand: Errand = json.load(sys.stdin)
    cfg.CONF([], project="octavia", default_config_files=[])
    settings = {
        "client_cert": errand["client_cert"], "server_ca": errand["server_ca"],
        "bind_port": errand["port"], "connection_max_retries": 3,
        "rest_request_read_timeout": 180, "connection_retry_interval": 2,
    }  # fmt: skip
    for key, value in settings.items():
        cfg.CONF.set_override(key, value, group="haproxy_amphora")
    amphora = models.Amphora(
        id=errand["amphora_id"], lb_network_ip=errand["address"],
        vrrp_ip=errand["net_info"]["vrrp_ip"], status=constants.AMPHORA_ALLOCATED,
    )  # fmt: skip
    client = AmphoraAPIClient1_0()
    if errand.get("greet"):
        json.dump(greeting(client, amphora), sys.stdout)
        return
    said: dict[str, Any] = {"version": client.get_api_version(amphora)}
    amphora.api_version = said["version"]["api_version"]
    said["info"] = client.get_info(amphora)
    client.plug_vip(amphora, errand["vip"], errand["net_info"])
    described = balancer(errand, amphora)
    config = JinjaTemplater().build_config(
        amphora,
        described.listeners,
        tls_certs=None,
        haproxy_versions=said["info"]["haproxy_version"].split("."),
        amp_details=client.get_details(amphora),
    )
    said["config"] = config
    client.upload_config(amphora, described.id, config)
    client.start_listener(amphora, described.id)
    said["listeners"] = client.get_all_listeners(amphora)
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
