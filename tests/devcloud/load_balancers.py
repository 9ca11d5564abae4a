"""A few load balancers of a real Octavia beside a development cloud that lasts: for the demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keystoneauth1 import session
from keystoneauth1.identity import v3

from tests.devcloud import accounts, processes
from tests.devcloud import cloud as clouds
from tests.devcloud.octavia_api import Octavia

PAIR = json.dumps({"loadbalancer_topology": "ACTIVE_STANDBY"})
HTTP: dict[str, Any] = {"listeners": [{"protocol": "HTTP", "protocol_port": 80, "name": "http"}]}
WANTED: dict[str, tuple[bool, dict[str, Any]]] = {
    "web": (True, HTTP),
    "mail": (False, HTTP),
    "git": (False, {}),
}
"""Name -> whether it is a pair, and what it has."""


def up(state: Path) -> dict[str, str]:
    """Start Octavia beside a cloud, and have it build what is missing; their ids, by name.

    It goes on until the cloud is taken down.
    """
    cloud = clouds.load(state.resolve())
    admin = session.Session(v3.Password(**accounts.auth_of(accounts.ADMIN, cloud.keystone_url)))
    kept = cloud.state / "octavia.port"
    octavia = Octavia(
        cloud=cloud,
        admin=admin,
        port=int(kept.read_text()) if kept.exists() else 0,
        heartbeats=True,
        tied=False,
    )
    if not processes.is_running(cloud.pid_file("octavia")):
        octavia.start()
        kept.write_text(str(octavia.port))
    url = f"{cloud.keystone_url}/v3/services?type=load-balancer"
    if not admin.get(url).json()["services"]:
        octavia.register()
    listed = admin.get(f"{octavia.url}/v2/lbaas/loadbalancers").json()["loadbalancers"]
    found = {str(each["name"]): str(each["id"]) for each in listed}
    missing = {name: wanted for name, wanted in WANTED.items() if name not in found}
    if missing:
        flavors = admin.get(f"{octavia.url}/v2/lbaas/flavors").json()["flavors"]
        pair = next((str(each["id"]) for each in flavors if each["name"] == "pair"), None)
        pair = pair or octavia.create_flavor("pair", PAIR)
        found |= octavia.create_load_balancers(
            {
                name: {**has, **({"flavor_id": pair} if is_pair else {})}
                for name, (is_pair, has) in missing.items()
            }
        )
    return found
