"""Nova and Neutron, as far as a rollover asks them for room: one server, by their API references.

Our side of these calls is what is tested by it. It knows the paths, the version and the token that
it is to be asked with, and answers 404, 406 and 401 to anything else.
"""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from keystoneauth1 import session

from tests.answering import answering
from tests.devcloud import catalog

PROJECT = "octavia-project"
SUBNET = "vip-subnet"
MANAGEMENT, MANAGEMENT_SUBNET = "management-network", "management-subnet"
GROUP = "server-group"
OF = "network-of-"
"""Beginning of the names of networks with one subnet."""


@dataclass(kw_only=True)
class NovaNeutron:
    """What there is and what is used of it."""

    servers: dict[str, int] = field(default_factory=lambda: {"limit": 20, "in_use": 3})
    ports: dict[str, int] = field(default_factory=lambda: {"limit": -1, "used": 900})
    free: dict[str, int] = field(default_factory=lambda: {SUBNET: 20, MANAGEMENT_SUBNET: 20})
    """Addresses left, by subnet."""
    vip_subnets: dict[str, str] = field(default_factory=dict)
    """Subnets of single servers, where another than SUBNET."""
    hypervisors: list[tuple[str, str]] = field(default_factory=lambda: [("up", "enabled")] * 3)
    group: dict[str, Any] = field(default_factory=dict)
    """Of every server: its policy and members."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Answered in place of anything else, by the beginning of a path."""
    asked: list[str] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def serving(self, admin: session.Session, keystone: str) -> Iterator[NovaNeutron]:
        """Serve for the length of the block, and be in the catalog."""
        handler = type("Served", (_Handler,), {"cloud": self})
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}"
            addresses = {"compute": f"{self.url}/v2.1", "network": self.url}
            try:
                for kind, url in addresses.items():
                    catalog.register(admin, keystone, kind, url)
                with answering(server):
                    yield self
            finally:
                for kind in addresses:
                    catalog.unregister(admin, keystone, kind)

    def answer(self, path: str, query: dict[str, list[str]], version: str | None) -> Any:
        """The document for a path, or the status of a refusal."""
        for beginning, status in self.statuses.items():
            if path.startswith(beginning):
                return status
        head, _, rest = path.lstrip("/").partition("/")
        if head == "v2.1":
            return 406 if version != "compute 2.71" else self._nova(rest.split("/"))
        return self._neutron(rest.split("/"), query) if head == "v2.0" else 404

    def _nova(self, words: list[str]) -> Any:
        match words:
            case ["servers", _]:
                flavor = {"vcpus": 1, "ram": 1024, "disk": 2}
                groups = [GROUP] if self.group else []
                return {"server": {"tenant_id": PROJECT, "flavor": flavor, "server_groups": groups}}
            case ["os-quota-sets", project, "detail"] if project == PROJECT:
                plenty = {"limit": -1, "in_use": 40, "reserved": 0}
                servers = {"reserved": 0, **self.servers}
                return {"quota_set": {"instances": servers, "cores": plenty, "ram": plenty}}
            case ["os-server-groups", id] if id == GROUP:
                return {"server_group": {"id": GROUP, **self.group}}
            case ["os-hypervisors"]:
                rows = [{"state": state, "status": status} for state, status in self.hypervisors]
                return {"hypervisors": rows}
        return 404

    def _neutron(self, words: list[str], query: dict[str, list[str]]) -> Any:
        match words:
            case ["ports"]:
                (server,) = query["device_id"]
                subnet = self.vip_subnets.get(server, SUBNET)
                places = ((MANAGEMENT, MANAGEMENT_SUBNET), (f"{OF}{subnet}", subnet))
                return {
                    "ports": [
                        {
                            "project_id": PROJECT,
                            "network_id": network,
                            "fixed_ips": [{"subnet_id": each, "ip_address": "192.0.2.9"}],
                        }
                        for network, each in places
                    ]
                }
            case ["quotas", project, "details.json"] if project == PROJECT:
                return {"quota": {"port": {"reserved": 0, **self.ports}}}
            case ["network-ip-availabilities", network]:
                subnet = MANAGEMENT_SUBNET if network == MANAGEMENT else network.removeprefix(OF)
                row = {"subnet_id": subnet, "cidr": "192.0.2.0/27", "ip_version": 4}
                row |= {"total_ips": 29, "used_ips": 29 - self.free.get(subnet, 20)}
                return {"network_ip_availability": {"subnet_ip_availability": [row]}}
        return 404


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: NovaNeutron

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        self.cloud.asked.append(asked.path)
        answer: Any = 401
        if self.headers.get("X-Auth-Token"):
            version = self.headers.get("OpenStack-API-Version")
            answer = self.cloud.answer(asked.path, parse_qs(asked.query), version)
        status, document = (answer, {}) if isinstance(answer, int) else (200, answer)
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
