"""Whether the cloud has room for the amphora that a failover builds before it deletes the old one.

Octavia asks nobody before it begins, and a failover that finds no room leaves its load balancer in
ERROR. What Nova and Neutron answer is true for the moment: others build meanwhile. Both are asked
as `octavia.cloud`; an answer that its user may not have is no obstacle, and named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
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


class _FailingError(Exception):
    """A service fails: Octavia would fail by it too."""


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
        except _FailingError as error:
            self.missing_for_all.append(str(error))

    def room(self) -> Room:
        return Room(
            missing=_once(self.missing),
            missing_for_all=_once(self.missing_for_all),
            unknown=_once(self.unknown),
        )


class Capacity:
    """Nova and Neutron of the cloud that Octavia is in, asked for what a failover needs."""

    def __init__(self, requests: Requests, adapters: Mapping[str, Adapter | str]) -> None:
        self._requests = requests
        self._adapters = adapters
        """An adapter, or why there is none."""

    @classmethod
    def connect(cls, target: Target) -> Self:
        """Find Nova and Neutron, as `octavia.cloud`. Raises ConfigError."""
        settings = octavia_cloud(impatient(target))
        region = cloud_region(settings)
        session, requests = session_of(region, settings)
        adapters: dict[str, Adapter | str] = {}
        for name, (service, microversion) in SERVICES.items():
            try:
                address = registered(region, session, service)
            except (ks_exc.ClientException, *BROKEN) as error:
                adapters[name] = f"not found in the catalog ({connection_error(error)})"
                continue
            if name == NEUTRON:
                address = versioned(address, "v2.0")
            adapters[name] = Adapter(
                session,
                service_type=service,
                endpoint_override=address,
                default_microversion=microversion,
            )
        return cls(requests, adapters)

    def room_for(
        self, compute_ids: Collection[str], subnets: Mapping[str, str], *, needed: int = 1
    ) -> Room:
        """Return what a failover of the load balancer with these amphorae would lack.

        `compute_ids` are servers of Nova's, `subnets` those of its VIPs with their networks.
        `needed` is the number of amphorae that are being built at the same time, this one among
        them. Nine requests or so.
        """
        found = _Findings(needed=needed)
        wanted = dict(subnets)
        for compute_id in sorted(compute_ids)[:1]:  # a pair's have the same of everything
            found.ask(self._servers, compute_id)
            found.ask(self._ports, compute_id, wanted)
        for network in sorted(set(wanted.values())):
            its = {subnet for subnet, of in wanted.items() if of == network}
            found.ask(self._addresses, network, its)
        return found.room()

    def _servers(self, compute_id: str, found: _Findings) -> None:
        """Ask for the quota of the servers' project, and for hypervisors where they must differ."""
        server = self._get(NOVA, "/servers/{}", compute_id)["server"]
        project = server["tenant_id"]
        flavor = server.get("flavor") or {}
        wanted = {"instances": 1, "cores": flavor.get("vcpus"), "ram": flavor.get("ram")}
        found.ask(self._server_quota, project, wanted)
        for group in server.get("server_groups") or ():
            found.ask(self._hypervisors, group)

    def _server_quota(self, project: str, wanted: Mapping[str, Any], found: _Findings) -> None:
        quota = self._get(NOVA, "/os-quota-sets/{}/detail", project)["quota_set"]
        found.missing_for_all += _short(NOVA, project, quota, wanted, found.needed, "in_use")

    def _hypervisors(self, group_id: str, found: _Findings) -> None:
        """Ask for another hypervisor than those of the group's servers, where that is demanded."""
        group = self._get(NOVA, "/os-server-groups/{}", group_id)["server_group"]
        if group.get("policy") != "anti-affinity":
            return
        rows = self._get(NOVA, "/os-hypervisors")["hypervisors"]
        able = sum(each["state"] == "up" and each["status"] == "enabled" for each in rows)
        taken = len(group["members"])
        if able <= taken:
            found.missing.append(
                f"its server group {group_id} is anti-affine and has {taken}"
                f" server{'s' if taken != 1 else ''}, and {able}"
                f" hypervisor{'s are' if able != 1 else ' is'} up and enabled"
            )

    def _ports(self, compute_id: str, wanted: dict[str, str], found: _Findings) -> None:
        """Ask for the subnets of an amphora's ports, and for the quota of their project."""
        ports = self._get(NEUTRON, "/ports", device_id=compute_id)["ports"]
        projects: dict[str, int] = {}
        for port in ports:
            projects[port["project_id"]] = projects.get(port["project_id"], 0) + 1
            for address in port.get("fixed_ips") or ():
                wanted[address["subnet_id"]] = port["network_id"]
        for project, count in sorted(projects.items()):
            found.ask(self._port_quota, project, count)

    def _port_quota(self, project: str, count: int, found: _Findings) -> None:
        quota = self._get(NEUTRON, "/quotas/{}/details.json", project)["quota"]
        wanted = {"port": count}
        found.missing_for_all += _short(NEUTRON, project, quota, wanted, found.needed, "used")

    def _addresses(self, network: str, subnets: Collection[str], found: _Findings) -> None:
        answer = self._get(NEUTRON, "/network-ip-availabilities/{}", network)
        for each in answer["network_ip_availability"]["subnet_ip_availability"]:
            free = each["total_ips"] - each["used_ips"]
            if each["subnet_id"] in subnets and free < found.needed:
                found.missing.append(
                    f"subnet {each['subnet_id']} ({each.get('cidr')}) has"
                    f" {_left(free)} of {each['total_ips']} addresses"
                )

    def _get(self, service: str, path: str, *ids: str, **query: str) -> Any:
        """Return a service's answer. Raises _UnknownError, _FailingError.

        Ids are in no reason: it is the same for all load balancers, and noted once.
        """
        adapter = self._adapters[service]
        if isinstance(adapter, str):
            raise _UnknownError(f"{service} {adapter}")
        asked, shown = path.format(*ids), path.format(*(["ID"] * len(ids)))

        try:
            return self._requests.make(
                lambda: adapter.get(asked, params=query).json(), f"ask {service} for {shown}"
            )
        except ks_exc.HttpError as error:
            status = error.http_status
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                reason = f"{service} answers {status} to GET {shown} (rollover.check_capacity)"
                raise _FailingError(reason) from error
            refused = status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
            word = "refuses GET" if refused else f"answers {status} to GET"
            raise _UnknownError(f"{service} {word} {shown}") from error
        except (ks_exc.ClientException, *BROKEN, *STRANGE) as error:
            reason = redacted(connection_error(error))
            raise _UnknownError(f"{service} cannot be asked ({reason})") from error


def _short(
    service: str,
    project: str,
    quota: Mapping[str, Any],
    wanted: Mapping[str, Any],
    needed: int,
    used: str,
) -> Iterator[str]:
    """Yield what a project's quota has no room for, by the names of the service's API."""
    for name, each in wanted.items():
        row = quota.get(name)
        if not isinstance(each, int) or not isinstance(row, Mapping) or row["limit"] < 0:
            continue
        free = row["limit"] - row[used] - row.get("reserved", 0)
        if free < each * needed:
            yield (
                f"{service}'s quota of project {project} has {_left(free)} of {row['limit']}"
                f" {name}, and {each * needed} {'is' if each * needed == 1 else 'are'} needed"
            )


def _left(free: int) -> str:
    return f"{free} left" if free > 0 else "none left"


def _once(found: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))
