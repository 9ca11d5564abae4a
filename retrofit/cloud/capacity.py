"""Whether the cloud has room for the amphora that a failover builds before it deletes the old one.

Octavia asks nobody before it begins, and a failover that finds no room leaves its load balancer in
ERROR. What Nova and Neutron answer is true for the moment: others build meanwhile. Both are asked
as `octavia.cloud`; an answer that its user may not have is no obstacle, and named. Which answer
means what was measured against Nova 33 and Neutron 29.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Self

from keystoneauth1 import exceptions as ks_exc
from keystoneauth1.adapter import Adapter

from retrofit.cloud.auth import cloud_region
from retrofit.cloud.endpoint import registered, versioned
from retrofit.cloud.errors import BROKEN, STRANGE, connection_error
from retrofit.cloud.octavia import octavia_cloud
from retrofit.cloud.requests import Requests, impatient, session_of
from retrofit.config import Target
from retrofit.redaction import redacted

NOVA, NEUTRON = "Nova", "Neutron"
SERVICES = {NOVA: ("compute", "2.71"), NEUTRON: ("network", None)}
"""Type in the catalog, and API version: from 2.71 on (Stein) a server names its server groups."""
PORTS = 1000
"""In one answer of Neutron's."""
HYPERVISORS = 100
"""In one answer of Nova's, which looks up a service for each."""
SLAAC = {"slaac", "dhcpv6-stateless"}
"""Modes of IPv6 subnets whose addresses come of MACs: the pools are of no use, and may be empty."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a failover would lack; `unknown` is what could not be asked, and why.

    `missing_for_all` is lacking to every load balancer, `missing` to the one that was asked about.
    """

    missing: tuple[str, ...] = ()
    missing_for_all: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class _UnknownError(Exception):
    """A service does not answer a question, for a reason that says nothing about room."""


class _GoneError(_UnknownError):
    """A service does not know what was asked about, or does not show it to this user."""


class _FailingError(Exception):
    """A service fails at what Octavia asks it for too, or cannot be reached."""


@dataclass(kw_only=True)
class _Findings:
    """What is found about one load balancer."""

    needed: int
    missing: list[str] = field(default_factory=list)
    missing_for_all: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def ask(self, question: Callable[..., None], *about: Any) -> None:
        """Ask one question; without an answer to it the others are asked all the same."""
        try:
            question(*about, self)
        except _UnknownError as error:
            self.unknown.append(str(error))
        except STRANGE as error:
            name = question.__name__.strip("_").replace("_", " ")
            self.unknown.append(
                f"{name}: the answer has another form than its API's"
                f" ({type(error).__name__}: {error})"
            )

    def compare(
        self,
        quota: str,
        rows: Mapping[str, Any],
        wanted: Mapping[str, Any],
        *,
        used: str,
        alike: Collection[str] = (),
    ) -> None:
        """Find what a quota has no room for, by the names of the service's API.

        Of what is `alike`, each load balancer needs as much; of the rest each needs some.
        """
        for name, each in wanted.items():
            row = rows.get(name)
            if not isinstance(each, int) or not isinstance(row, Mapping) or row["limit"] < 0:
                continue
            free, wanted_now = row["limit"] - row[used] - row.get("reserved", 0), each * self.needed
            if row["limit"] == 0 and row[used] > 0:
                # What Nova shows where Keystone keeps its limits, and has none of this name.
                self.unknown.append(f"{quota} shows a limit of 0 {name} with some in use")
            elif free < wanted_now:
                found = self.missing_for_all if free <= 0 or name in alike else self.missing
                found.append(
                    f"{quota} has {_left(free)} of {row['limit']} {name}, and {wanted_now}"
                    f" {'is' if wanted_now == 1 else 'are'} needed"
                )

    def room(self) -> Room:
        return Room(
            missing=_once(self.missing),
            missing_for_all=_once(self.missing_for_all),
            unknown=_once(self.unknown),
        )


class Capacity:
    """Nova and Neutron of the cloud that Octavia is in, asked for what a failover needs."""

    def __init__(self, region: Any, session: Any, requests: Requests) -> None:
        self._region = region
        self._session = session
        self._requests = requests
        self._adapters: dict[str, Adapter] = {}

    @classmethod
    def connect(cls, target: Target) -> Self:
        """Be ready to ask as `octavia.cloud`. Nothing is asked by this. Raises ConfigError."""
        settings = octavia_cloud(impatient(target))
        region = cloud_region(settings)
        return cls(region, *session_of(region, settings))

    def room_for(
        self, servers: Mapping[str, str | None], subnets: Mapping[str, str], *, needed: int = 1
    ) -> Room:
        """Return what a failover of the load balancer with these amphorae would lack.

        `servers` are those of Nova's with their addresses on the management network, those first
        that are there for sure: the first one that Nova knows stands for all, since those of a pair
        have the same of everything. `subnets` are those of its VIP with their networks. `needed` is
        the number of amphorae that are being built at the same time, this one among them; those
        that Nova counts already are counted twice, and one waits for them. Ten requests or so.
        """
        found = _Findings(needed=needed)
        exactly, any_like = dict(subnets), dict[str, str]()
        try:
            found.ask(self._servers, servers)
            found.ask(self._ports, servers, exactly, any_like)
            for network in sorted({*exactly.values(), *any_like.values()}):
                its = {subnet for subnet, of in exactly.items() if of == network}
                others = {subnet for subnet, of in any_like.items() if of == network} - its
                found.ask(self._addresses, network, its, others)
        except _FailingError as error:
            found.missing_for_all.append(str(error))
        return found.room()

    def _servers(self, servers: Mapping[str, str | None], found: _Findings) -> None:
        """Ask for the quota of the servers' project, and for hypervisors where they must differ."""
        server = self._server(servers)
        flavor = server.get("flavor") or {}
        wanted = {"instances": 1, "cores": flavor.get("vcpus"), "ram": flavor.get("ram")}
        found.ask(self._server_quota, server["tenant_id"], wanted)
        for group in server.get("server_groups") or ():
            found.ask(self._hypervisors, group, server)

    def _server(self, servers: Iterable[str]) -> Any:
        """Return the first of these servers that Nova knows."""
        for server_id in servers:
            try:
                return self._get(NOVA, "/servers/{}", server_id, vital=True)["server"]
            except _GoneError:
                continue
        raise _UnknownError("Nova shows none of the servers of the amphorae")

    def _server_quota(self, project: str, wanted: Mapping[str, Any], found: _Findings) -> None:
        quota = self._get(NOVA, "/os-quota-sets/{}/detail", project)["quota_set"]
        name = f"Nova's quota of project {project}"
        found.compare(name, quota, wanted, used="in_use", alike=("instances",))

    def _hypervisors(self, group_id: str, server: Mapping[str, Any], found: _Findings) -> None:
        """Ask for a hypervisor without any server of a group, where that is demanded."""
        group = self._get(NOVA, "/os-server-groups/{}", group_id)["server_group"]
        if group.get("policy") != "anti-affinity":
            return
        members = set(group["members"])
        if server["id"] not in members:
            raise _UnknownError("Nova does not show the members of server groups")
        taken = {self._hypervisor_of(server)}
        for member in sorted(members - {server["id"]}):
            try:
                row = self._get(NOVA, "/servers/{}", member)["server"]
            except _GoneError:
                continue
            taken.add(self._hypervisor_of(row))
        number, able = 0, set()
        for each in self._listed(NOVA, "hypervisors", "/os-hypervisors", size=HYPERVISORS):
            number += 1
            if each["state"] == "up" and each["status"] == "enabled":
                able.add(each["hypervisor_hostname"])
                if able - taken:
                    return
        found.missing.append(
            f"its server group {group_id} is anti-affine, and of {number} hypervisors"
            f" {len(able)} {'is' if len(able) == 1 else 'are'} up and enabled, each with a"
            " server of the group"
        )

    @staticmethod
    def _hypervisor_of(server: Mapping[str, Any]) -> str:
        try:
            return str(server["OS-EXT-SRV-ATTR:hypervisor_hostname"])
        except KeyError:
            raise _UnknownError("Nova does not show which hypervisor a server is on") from None

    def _ports(
        self,
        servers: Mapping[str, str | None],
        exactly: dict[str, str],
        any_like: dict[str, str],
        found: _Findings,
    ) -> None:
        """Ask for the subnets of an amphora's ports, and for the quota of their project.

        Octavia asks for each subnet by its id, but on the management network, of whose subnets of
        a family Neutron takes any.
        """
        for server_id in servers:
            ports = self._get(NEUTRON, "/ports", vital=True, query={"device_id": server_id})[
                "ports"
            ]
            if ports:
                break
        else:
            # To who may not see them, Neutron has none.
            raise _UnknownError("Neutron shows no ports of the amphorae")
        management = servers[server_id]
        projects: dict[str, int] = {}
        for port in ports:
            projects[port["project_id"]] = projects.get(port["project_id"], 0) + 1
            addresses = port.get("fixed_ips") or ()
            managed = management in {each["ip_address"] for each in addresses}
            chosen = any_like if managed else exactly
            chosen |= {each["subnet_id"]: port["network_id"] for each in addresses}
        for project, count in sorted(projects.items()):
            found.ask(self._port_quota, project, count)

    def _port_quota(self, project: str, count: int, found: _Findings) -> None:
        quota = self._get(NEUTRON, "/quotas/{}/details.json", project)["quota"]
        name = f"Neutron's quota of project {project}"
        found.compare(name, quota, {"port": count}, used="used")

    def _addresses(
        self, network: str, exactly: Collection[str], any_of: Collection[str], found: _Findings
    ) -> None:
        """Ask for free addresses in these subnets of a network, or in any one of a family."""
        answer = self._get(NEUTRON, "/network-ip-availabilities/{}", network)
        rows = answer["network_ip_availability"]["subnet_ip_availability"]
        families = {row["ip_version"] for row in rows if row["subnet_id"] in any_of}
        choices = [[row] for row in rows if row["subnet_id"] in exactly]
        choices += [[row for row in rows if row["ip_version"] == family] for family in families]
        for choice in choices:
            free = [self._free(row, found.needed) for row in choice]
            if max(free) < found.needed:
                found.missing += [
                    f"subnet {row['subnet_id']} ({row.get('cidr')}) has {_left(left)} of"
                    f" {row['total_ips']} addresses"
                    for row, left in zip(choice, free, strict=True)
                ]

    def _free(self, row: Mapping[str, Any], needed: int) -> int:
        """Return the free addresses in the allocation pools of a subnet.

        Addresses in use elsewhere in it, as a router's often is, count as used in `used_ips`, and
        `total_ips` are those of the pools. From 2026.1 on Neutron tells them apart.
        """
        details = row.get("ip_availability_details")
        total, used = row["total_ips"], row["used_ips"]
        if details is not None:
            total = details["total_ips_in_allocation_pool"]
            used = details["used_ips_in_allocation_pool"]
        if total - used >= needed:
            return int(total - used)
        subnet = self._get(NEUTRON, "/subnets/{}", row["subnet_id"])["subnet"]
        if subnet.get("ipv6_address_mode") in SLAAC:
            return needed
        return int(total - used) if details is not None else self._counted(row, subnet)

    def _counted(self, row: Mapping[str, Any], subnet: Mapping[str, Any]) -> int:
        """Count the addresses in use in the allocation pools of a subnet, one by one."""
        ranges = [
            (ip_address(each["start"]), ip_address(each["end"]))
            for each in subnet["allocation_pools"]
        ]
        used = list(self._used(row["subnet_id"]))
        if len(used) < row["used_ips"]:
            raise _UnknownError("Neutron does not show all ports of a subnet that is nearly full")
        inside = sum(
            any(int(first) <= int(each) <= int(last) for first, last in ranges) for each in used
        )
        return int(row["total_ips"]) - inside

    def _used(self, subnet: str) -> Iterator[Any]:
        """Yield the addresses of all ports in a subnet."""
        query = {"fixed_ips": f"subnet_id={subnet}", "fields": ["id", "fixed_ips"]}
        for port in self._listed(NEUTRON, "ports", "/ports", size=PORTS, query=query):
            for each in port["fixed_ips"]:
                if each["subnet_id"] == subnet:
                    yield ip_address(each["ip_address"])

    def _listed(
        self,
        service: str,
        collection: str,
        path: str,
        *,
        size: int,
        query: Mapping[str, Any] = MappingProxyType({}),
    ) -> Iterator[Any]:
        """Yield the rows of a listing, in pages of a size, each asked for when it is needed."""
        page = {**query, "limit": size}
        while rows := self._get(service, path, query=page)[collection]:
            yield from rows
            if len(rows) < size:
                return
            page["marker"] = rows[-1]["id"]

    def _get(
        self,
        service: str,
        path: str,
        *ids: str,
        vital: bool = False,
        query: Mapping[str, Any] = MappingProxyType({}),
    ) -> Any:
        """Return a service's answer. Raises _UnknownError; _FailingError for what is `vital`.

        Vital is what Octavia asks for too: where that fails, so would it. Ids are in no reason: it
        is the same for all load balancers, and noted once.
        """
        failing = _FailingError if vital else _UnknownError
        remark = " (rollover.check_capacity)" if vital else ""
        asked, shown = path.format(*ids), path.format(*(["ID"] * len(ids)))

        def get() -> Any:
            return self._adapter(service).get(asked, params=dict(query)).json()

        try:
            return self._requests.make(get, f"ask {service} for {shown}")
        except (ks_exc.EndpointNotFound, ks_exc.EmptyCatalog) as error:
            raise _UnknownError(f"{service} is not in the catalog") from error
        except ks_exc.HttpError as error:
            status = error.http_status
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise failing(f"{service} answers {status} to GET {shown}{remark}") from error
            refused = status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
            word = "refuses GET" if refused else f"answers {status} to GET"
            kind = _GoneError if status == HTTPStatus.NOT_FOUND else _UnknownError
            raise kind(f"{service} {word} {shown}") from error
        except ValueError:
            raise  # no JSON, from whoever answers there
        except (ks_exc.ClientException, *BROKEN) as error:
            reason = redacted(connection_error(error))
            raise failing(f"{service} cannot be asked: {reason}{remark}") from error

    def _adapter(self, service: str) -> Adapter:
        """Return what asks a service, found in the catalog at the first question."""
        if service not in self._adapters:
            kind, microversion = SERVICES[service]
            address = registered(self._region, self._session, kind)
            if service == NEUTRON:
                address = versioned(address, "v2.0")
            self._adapters[service] = Adapter(
                self._session,
                service_type=kind,
                endpoint_override=address,
                default_microversion=microversion,
            )
        return self._adapters[service]


def _left(free: int) -> str:
    return f"{free} left" if free > 0 else "none left"


def _once(found: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))
