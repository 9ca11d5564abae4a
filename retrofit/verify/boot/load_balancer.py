"""The load balancers of a trial: which listeners, on which addresses, with which members."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from retrofit.verify.boot.configs.haproxy import haproxy_config
from retrofit.verify.boot.configs.model import (
    Instance,
    Listener,
    LoadBalancer,
    Member,
    Monitor,
    MonitorType,
    Policy,
    Pool,
    certificate_path,
    new_id,
)
from retrofit.verify.boot.members import MONITOR
from retrofit.verify.boot.network import (
    ADDITIONAL_ADDRESS,
    ADDITIONAL_ADDRESS6,
    ADDITIONAL_NETWORK,
    ADDITIONAL_NETWORK6,
    ADDITIONAL_OURS,
    ADDITIONAL_OURS6,
    MEMBER,
    PEER_ADDRESS,
    VIP,
    VIP_ADDRESS,
    VIP_ADDRESS6,
)
from retrofit.verify.boot.scenario import Scenario

HTTP_PORT, TLS_PORT, METRICS_PORT, CLIENT_AUTH_PORT = 80, 443, 8088, 8443
CLOSED_PORT = 81
"""A port that the rules of the VIP's interface do not allow at first."""
ENCRYPTED_PORT, PROXY_PORT, UDP_PORT, SCTP_PORT = 8080, 8082, 5353, 7777
HTTP_MONITOR_PORT, TCP_MONITOR_PORT, PING_MONITOR_PORT = 8083, 8084, 8085
MEMBER_PORT, TLS_MEMBER_PORT, PROXY_MEMBER_PORT = 9001, 9002, 9003
HTTP_LATE_PORT, TCP_LATE_PORT, UDP_MEMBER_PORT, SCTP_MEMBER_PORT = 9011, 9012, 9053, 9077
LATE_ADDRESS, LATE_ADDRESS6 = "203.0.113.3", "2001:db8:c::3"
"""A member that answers pings from some moment on."""
REDIRECTED, REDIRECTED_TO, REJECTED_HOST = "/old", "http://www.example.org/new", "four.example.org"
CLIENT_CA, MEMBER_CA = "client-ca.pem", "member-ca.pem"
"""File names under which the authorities are uploaded."""


@dataclass(frozen=True, kw_only=True)
class Vip:
    """A VIP: its subnet, our address in it, and for the primary one the amphora's own."""

    address: str
    network: str
    gateway: str
    vrrp_ip: str = ""


PRIMARY = Vip(address=VIP_ADDRESS, network=VIP.cidr, gateway=VIP.ours, vrrp_ip=VIP.theirs)
ADDITIONAL = Vip(address=ADDITIONAL_ADDRESS, network=ADDITIONAL_NETWORK, gateway=ADDITIONAL_OURS)
ADDITIONAL6 = Vip(
    address=ADDITIONAL_ADDRESS6, network=ADDITIONAL_NETWORK6, gateway=ADDITIONAL_OURS6
)
IPV6 = Vip(address=VIP_ADDRESS6, network=VIP.cidr6, gateway=VIP.ours6, vrrp_ip="2001:db8:b::10")


@dataclass(frozen=True, kw_only=True)
class Balancer:
    """One load balancer on one amphora; `listeners` by what they are for, the first VIP primary."""

    amphora_id: str
    vips: tuple[Vip, ...]
    listeners: Mapping[str, Listener]
    paired: bool
    id: str
    project_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    peer_id: str = field(default_factory=new_id)
    certificate_name: str = field(default_factory=lambda: f"{secrets.token_hex(20)}.pem")
    """File name under which its certificate is uploaded."""

    @property
    def address(self) -> str:
        """Return the primary VIP."""
        return self.vips[0].address

    def haproxy_config(self, haproxy: tuple[int, ...], *names: str) -> str:
        """Return HAProxy's configuration of all listeners, or of those that are named."""
        return haproxy_config(self._described(*(names or self.listeners)), haproxy=haproxy)

    def described(self) -> LoadBalancer:
        """Return it as Octavia's database would."""
        return self._described(*self.listeners)

    def _described(self, *names: str) -> LoadBalancer:
        amphorae = [Instance(id=self.amphora_id, vrrp_ip=self.vips[0].vrrp_ip)]
        if self.paired:
            amphorae.append(Instance(id=self.peer_id, vrrp_ip=PEER_ADDRESS))
        return LoadBalancer(
            id=self.id,
            project_id=self.project_id,
            vips=tuple(vip.address for vip in self.vips),
            listeners=tuple(self.listeners[name] for name in names),
            amphorae=tuple(amphorae),
        )


def vips_of(
    scenario: Scenario, *, full: bool, additional_vips: bool = True, both_families: bool = True
) -> tuple[Vip, ...]:
    """Return the VIPs of a boot, the primary one first; one without `full`.

    Agents without `additional_vips` take one, and some are not asked for `both_families` at once:
    the two boots share the families then.
    """
    single = scenario.name == "single"
    if not full:
        return (PRIMARY,)
    if not additional_vips:
        return (IPV6,) if single else (PRIMARY,)
    if not both_families:
        return (IPV6, ADDITIONAL6) if single else (PRIMARY, ADDITIONAL)
    return PRIMARY, ADDITIONAL, IPV6


def load_balancer(
    scenario: Scenario, amphora_id: str, *, balancer_id: str, full: bool, vips: tuple[Vip, ...]
) -> Balancer:
    """Return the load balancer of a boot; without `full`, the few listeners of level `boot`."""
    near = Pool(protocol="HTTP", members=(Member(address=VIP.ours, port=MEMBER_PORT),))
    if scenario.name == "pair":
        listeners = {
            "plain": Listener(protocol="HTTP", port=HTTP_PORT, pool=near),
            "closed": Listener(protocol="HTTP", port=CLOSED_PORT, pool=near),
        }
    elif not full:
        listeners = _basic(near)
    else:
        listeners = _complete(balancer_id, vips)
    return Balancer(
        amphora_id=amphora_id,
        vips=vips,
        listeners=listeners,
        paired=scenario.topology == "ACTIVE_STANDBY",
        id=balancer_id,
    )


def _basic(pool: Pool) -> dict[str, Listener]:
    return {
        "plain": Listener(protocol="HTTP", port=HTTP_PORT, pool=pool),
        "terminated": Listener(protocol="TERMINATED_HTTPS", port=TLS_PORT, pool=pool),
        "metrics": Listener(protocol="PROMETHEUS", port=METRICS_PORT),
    }


def _complete(balancer_id: str, vips: tuple[Vip, ...]) -> dict[str, Listener]:
    families = {":" in vip.address for vip in vips}
    # LVS has the members of a VIP's own family.
    datagram = tuple(each for each in _both(UDP_MEMBER_PORT) if (":" in each.address) in families)
    associated = MEMBER.ours6 if families == {True} else MEMBER.ours
    web = Pool(protocol="HTTP", members=_both(MEMBER_PORT))
    encrypted = Pool(
        protocol="HTTP",
        members=(Member(address=MEMBER.ours, port=TLS_MEMBER_PORT),),
        ca_file=certificate_path(balancer_id, MEMBER_CA),
    )
    proxied = Pool(protocol="PROXY", members=(Member(address=MEMBER.ours, port=PROXY_MEMBER_PORT),))
    policies = (
        Policy(rule="PATH", value=REDIRECTED, redirect_url=REDIRECTED_TO),
        Policy(rule="HOST_NAME", value=REJECTED_HOST),
    )
    return {
        "plain": Listener(protocol="HTTP", port=HTTP_PORT, pool=web, policies=policies),
        "terminated": Listener(
            protocol="TERMINATED_HTTPS", port=TLS_PORT, pool=web, alpn=("h2", "http/1.1")
        ),
        "metrics": Listener(protocol="PROMETHEUS", port=METRICS_PORT),
        "client-auth": Listener(
            protocol="TERMINATED_HTTPS",
            port=CLIENT_AUTH_PORT,
            pool=web,
            client_ca_file=CLIENT_CA,
        ),
        "encrypted": Listener(protocol="HTTP", port=ENCRYPTED_PORT, pool=encrypted),
        "proxied": Listener(protocol="TCP", port=PROXY_PORT, pool=proxied),
        "http-monitor": Listener(
            protocol="HTTP",
            port=HTTP_MONITOR_PORT,
            pool=Pool(
                protocol="HTTP",
                members=_both(HTTP_LATE_PORT),
                monitor=Monitor(type="HTTP", url_path=MONITOR),
            ),
        ),
        "tcp-monitor": Listener(
            protocol="TCP",
            port=TCP_MONITOR_PORT,
            pool=Pool(protocol="TCP", members=_both(TCP_LATE_PORT), monitor=Monitor(type="TCP")),
        ),
        "ping-monitor": Listener(
            protocol="HTTP",
            port=PING_MONITOR_PORT,
            pool=Pool(
                protocol="HTTP",
                members=(
                    Member(address=LATE_ADDRESS, port=MEMBER_PORT),
                    Member(address=LATE_ADDRESS6, port=MEMBER_PORT),
                ),
                monitor=_by_a_program("PING"),
            ),
        ),
        "udp": Listener(
            protocol="UDP",
            port=UDP_PORT,
            pool=Pool(
                protocol="UDP",
                members=datagram,
                monitor=_by_a_program("UDP-CONNECT"),
            ),
        ),
        "sctp": Listener(
            protocol="SCTP",
            port=SCTP_PORT,
            pool=Pool(
                protocol="SCTP",
                members=(Member(address=associated, port=SCTP_MEMBER_PORT),),
                monitor=_by_a_program("SCTP"),
            ),
        ),
    }


def _both(port: int) -> tuple[Member, ...]:
    """Return a member on each family of the member network."""
    return (Member(address=MEMBER.ours, port=port), Member(address=MEMBER.ours6, port=port))


def _by_a_program(kind: MonitorType) -> Monitor:
    """Return a monitor whose every check starts a program, which takes seconds where emulated."""
    return Monitor(type=kind, delay=10, timeout=10)
