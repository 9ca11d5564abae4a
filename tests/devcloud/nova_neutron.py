"""A real Nova and a real Neutron beside the development cloud, for who asks them for room.

Nova has an API and rows and builds nothing; Neutron hands out addresses of networks without wires.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keystoneauth1 import session

from tests.devcloud import accounts, catalog, processes
from tests.devcloud.places import SERVER_ENVIRONMENT
from tests.devcloud.servers import Cloud, environment, gunicorn, wait_until_answering

TYPES = {"nova": "compute", "neutron": "network"}
"""Of their entries in the catalog."""
PATHS = {"nova": "/v2.1", "neutron": ""}
"""Below which the catalog has their APIs."""


@dataclass(kw_only=True)
class NovaNeutron:
    """Two processes, their catalog entries, and what is in them."""

    cloud: Cloud
    admin: session.Session
    ports: dict[str, int] = field(default_factory=dict)
    networks: list[str] = field(default_factory=list)

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def start(self) -> None:
        """Start both, and wait until they answer."""
        for service in TYPES:
            directory = self.cloud.state / service
            directory.mkdir(exist_ok=True)
            shutil.copy(SERVER_ENVIRONMENT / f"etc/{service}/api-paste.ini", directory)
            conf = f"{self._conf(service, directory)}{self._keystone()}"
            (directory / f"{service}.conf").write_text(conf)
            with processes.listen(None) as listener:
                self.ports[service] = listener.getsockname()[1]
                processes.start(
                    gunicorn(f"{service}_app:application", listener),
                    pid_file=self.cloud.pid_file(service),
                    log_file=self.cloud.state / "log" / f"{service}.out",
                    env=environment(self.cloud.state)
                    | {
                        f"OS_{service.upper()}_CONFIG_DIR": str(directory),
                        f"OS_{service.upper()}_CONFIG_FILES": self._files(service),
                    },
                    keep_open=[listener.fileno()],
                    tied=True,
                )
        for service in TYPES:
            logs = [self.cloud.state / "log" / f"{service}.out"]
            wait_until_answering(service, self.url(service), self.cloud.pid_file(service), logs)

    def stop(self) -> None:
        """End both."""
        for service in TYPES:
            processes.stop(self.cloud.pid_file(service))

    def register(self, **urls: str) -> None:
        """Have the catalog name both, by other addresses than their own where these are given."""
        for service, kind in TYPES.items():
            address = urls.get(service, self.url(service))
            catalog.register(
                self.admin, self.cloud.keystone_url, kind, f"{address}{PATHS[service]}"
            )

    def unregister(self) -> None:
        """Have the catalog name neither any more."""
        for kind in TYPES.values():
            catalog.unregister(self.admin, self.cloud.keystone_url, kind)

    def clear(self) -> None:
        """Leave nothing in either."""
        self._have("clear")
        for network in self.networks:
            ports = self.get("neutron", f"/v2.0/ports?network_id={network}")["ports"]
            for port in ports:
                self.admin.delete(f"{self.url('neutron')}/v2.0/ports/{port['id']}")
            self.admin.delete(f"{self.url('neutron')}/v2.0/networks/{network}")
        self.networks.clear()
        for quota in self.get("neutron", "/v2.0/quotas")["quotas"]:
            self.admin.delete(f"{self.url('neutron')}/v2.0/quotas/{quota['project_id']}")

    def get(self, service: str, path: str) -> Any:
        return self.admin.get(f"{self.url(service)}{path}").json()

    def _neutron(self, collection: str, **attributes: Any) -> Any:
        url = f"{self.url('neutron')}/v2.0/{collection}"
        (made,) = self.admin.post(url, json={collection[:-1]: attributes}).json().values()
        return made

    def network(self, *subnets: Mapping[str, Any], project: str) -> tuple[str, list[str]]:
        """Make a network of a project with subnets of these attributes; return the ids."""
        network = self._neutron("networks", project_id=project)["id"]
        self.networks.append(network)
        return network, [self.subnet(network, each, project=project) for each in subnets]

    def subnet(self, network: str, attributes: Mapping[str, Any], *, project: str) -> str:
        """Make a subnet without a gateway; return its id."""
        given = {"network_id": network, "project_id": project, "gateway_ip": None}
        return str(self._neutron("subnets", **given, **attributes)["id"])

    def port(self, network: str, *, project: str, **attributes: Any) -> str:
        """Make a port, with the next free addresses unless `fixed_ips` names others.

        Returns its first address.
        """
        made = self._neutron("ports", network_id=network, project_id=project, **attributes)
        return str(made["fixed_ips"][0]["ip_address"])

    def neutron_quota(self, project: str, **limits: int) -> None:
        url = f"{self.url('neutron')}/v2.0/quotas/{project}"
        self.admin.put(url, json={"quota": limits})

    def nova_quota(self, project: str, **limits: int) -> None:
        url = f"{self.url('nova')}/v2.1/os-quota-sets/{project}"
        self.admin.put(url, json={"quota_set": {"force": True, **limits}})

    def hypervisors(self, *rows: Mapping[str, Any]) -> None:
        """Have hypervisors: `host`, whether it is `up`, and `enabled` unless that is False."""
        self._have("hypervisors", rows)

    def servers(self, *rows: Mapping[str, Any]) -> None:
        """Have servers: `id`, `project`, `host`, and of their flavor `vcpus` and `ram` (MiB)."""
        self._have("servers", rows)

    def lose(self, *servers: str) -> None:
        """Have servers in a cell that does not answer."""
        self._have("lose", *servers)

    def server_group(self, policy: str, *members: str, owner: session.Session) -> str:
        """Make a server group of `owner`'s project with servers in it; return its id."""
        made = owner.post(
            f"{self.url('nova')}/v2.1/os-server-groups",
            json={"server_group": {"name": "of a pair", "policy": policy}},
            headers={"OpenStack-API-Version": "compute 2.71"},
        ).json()["server_group"]["id"]
        self._have("join", made, members)
        return str(made)

    def _have(self, done: str, *given: Any) -> None:
        """Call a function of nova_rows.py in Nova's process."""
        self.admin.post(f"{self.url('nova')}/does/{done}", json=given)

    @staticmethod
    def _files(service: str) -> str:
        # Nova takes the first for what paste reads.
        return "api-paste.ini;nova.conf" if service == "nova" else "neutron.conf"

    def _keystone(self) -> str:
        return f"""\
[keystone_authtoken]
www_authenticate_uri = {self.cloud.keystone_url}
{accounts.ini_of("demo-octavia", self.cloud.keystone_url)}
"""

    def _conf(self, service: str, directory: Path) -> str:
        log = f"log_file = {self.cloud.log_file(service)}"
        if service == "nova":
            return f"""\
[DEFAULT]
{log}
state_path = {directory}
transport_url = fake://

[api_database]
connection = sqlite:///{directory}/api.db?timeout=30

[database]
connection = sqlite:///{directory}/cell.db?timeout=30

"""
        return f"""\
[DEFAULT]
{log}
state_path = {directory}
transport_url = fake://
api_paste_config = {directory}/api-paste.ini
core_plugin = ml2
service_plugins = network_ip_availability
dhcp_agent_notification = false
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false

[database]
connection = sqlite:///{directory}/neutron.db?timeout=30

[ml2]
type_drivers = local
tenant_network_types = local
mechanism_drivers =

"""
