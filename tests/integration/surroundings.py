"""What is around the amphorae of a rollover: servers, hypervisors, networks, quotas."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from keystoneauth1 import exceptions, session

from tests.devcloud.fronts import Front, Handler
from tests.devcloud.nova_neutron import NovaNeutron
from tests.integration.rollover_site import RolloverSite

POOL = {"start": "192.0.2.10", "end": "192.0.2.15"}
SUBNET = {"ip_version": 4, "cidr": "192.0.2.0/24", "allocation_pools": [POOL]}
SECOND_SUBNET = {"ip_version": 4, "cidr": "198.51.100.0/24"}
OUTSIDE = [f"192.0.2.{number}" for number in range(50, 56)]
"""As many addresses as the pool has, none of them in it."""


@dataclass(kw_only=True)
class Surroundings:
    """A real Nova and a real Neutron, each behind a front that the catalog names."""

    real: NovaNeutron
    fronts: Mapping[str, Front]
    owner: session.Session
    """Of the project that the amphorae are in."""
    project: str
    management: str = ""
    networks: dict[str, str] = field(default_factory=dict)
    """Of VIPs, by the names of the load balancers."""
    subnets: dict[str, str] = field(default_factory=dict)
    servers: dict[str, str] = field(default_factory=dict)
    """The server of each load balancer's one amphora, by its name."""

    @property
    def asked(self) -> list[str]:
        return [each.path for front in self.fronts.values() for each in front.asked]

    def place(self, site: RolloverSite, *, vcpus: Mapping[str, int] | None = None) -> None:
        """Have the amphorae of a site's load balancers in Nova and Neutron, on three hypervisors.

        `vcpus` are of their flavors, one each where none is named.
        """
        self.real.hypervisors(*({"host": host, "up": True} for host in ("one", "two", "three")))
        self.management, _ = self.real.network(SUBNET, project=self.project)
        for name, load_balancer in site.load_balancers.items():
            network, (subnet,) = self.real.network(SUBNET, project=self.project)
            self.networks[name], self.subnets[name] = network, subnet
            site.octavia.set_vip(load_balancer, network_id=network, subnet_id=subnet)
            url = f"{site.octavia.url}/v2/octavia/amphorae?loadbalancer_id={load_balancer}"
            for amphora in site.octavia.admin.get(url).json()["amphorae"]:
                server = self.servers[name] = amphora["compute_id"]
                cpus = (vcpus or {}).get(name, 1)
                facts = {"project": self.project, "host": "one", "vcpus": cpus, "ram": 1024}
                self.real.servers({"id": server, **facts})
                ports = {"project": self.project, "device_id": server}
                site.octavia.set_address(amphora["id"], self.real.port(self.management, **ports))
                self.real.port(network, **ports)

    def fill(self, network: str, subnet: str | None = None) -> None:
        """Have no address left in the pools of a network, or of one subnet of it."""
        place = {} if subnet is None else {"fixed_ips": [{"subnet_id": subnet}]}
        try:
            while True:
                self.real.port(network, project=self.project, **place)
        except exceptions.Conflict:
            return

    def group(self, *others: str) -> None:
        """Have each server in an anti-affine group, with further ones on hypervisors."""
        for server in self.servers.values():
            further = [str(uuid.uuid4()) for _ in others]
            facts = {"project": self.project, "vcpus": 1, "ram": 1024}
            self.real.servers(
                *(
                    {"id": server_id, "host": host, **facts}
                    for server_id, host in zip(further, others, strict=True)
                )
            )
            self.real.server_group("anti-affinity", server, *further, owner=self.owner)

    def refuse(self, service: str, paths: Mapping[str, int]) -> None:
        """Have a service answer with a status, by the beginning of a path, and with no content."""

        def meet(handler: Handler) -> bool:
            for beginning, status in paths.items():
                if handler.asked.path.startswith(beginning):
                    handler.answer(status, b"{}", Content_Type="application/json")
                    return True
            return False

        self.fronts[service].meet = meet


@contextmanager
def surroundings(
    real: NovaNeutron, *, owner: session.Session, project: str
) -> Iterator[Surroundings]:
    """Be in the catalog, behind fronts, for the length of the block, with nothing in either."""
    real.clear()
    with ExitStack() as stack:
        fronts = {
            service: stack.enter_context(Front(behind=real.url(service)).serving())
            for service in real.ports
        }
        real.register(**{service: front.url for service, front in fronts.items()})
        try:
            yield Surroundings(real=real, fronts=fronts, owner=owner, project=project)
        finally:
            real.unregister()


def without_details(body: bytes) -> bytes:
    """What Neutron before 2026.1 answers, which does not tell pools from the rest of a subnet."""
    return body.replace(b'"ip_availability_details"', b'"of_another_time"')
