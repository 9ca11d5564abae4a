"""A load balancer as Octavia's database describes it: only what the configurations need."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Literal

from retrofit.verify.agent_files import CERTIFICATE_DIRECTORY

Protocol = Literal["HTTP", "TCP", "TERMINATED_HTTPS", "PROMETHEUS", "PROXY", "UDP", "SCTP"]
MonitorType = Literal["HTTP", "TCP", "PING", "UDP-CONNECT", "SCTP"]
CONNECTION_LIMIT = 1000
CLIENT_TIMEOUT, CONNECT_TIMEOUT, MEMBER_TIMEOUT = 50000, 5000, 50000
"""Milliseconds: Octavia's defaults."""


def new_id() -> str:
    """Return an id as Octavia makes them. The agent reads UUIDs out of the configurations."""
    return str(uuid.uuid4())


@dataclass(frozen=True, kw_only=True)
class Member:
    """A server behind a load balancer."""

    address: str
    port: int
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """A health monitor. `delay` and `timeout` are seconds, `fall` and `rise` numbers of checks."""

    type: MonitorType
    delay: int = 3
    timeout: int = 3
    fall: int = 1
    rise: int = 1
    url_path: str = "/monitor"
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Members, and how they are asked. `ca_file`: they are asked over TLS, and have to prove it."""

    protocol: Protocol
    members: tuple[Member, ...]
    monitor: Monitor | None = None
    ca_file: str | None = None
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """An L7 policy of one rule: a path that starts with a value, or a host's name."""

    rule: Literal["PATH", "HOST_NAME"]
    value: str
    redirect_url: str | None = None
    """None: the request is rejected."""
    id: str = field(default_factory=new_id)
    rule_id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A port of the VIPs."""

    protocol: Protocol
    port: int
    pool: Pool | None = None
    policies: tuple[Policy, ...] = ()
    client_ca_file: str | None = None
    """Clients have to show a certificate of this CA."""
    alpn: tuple[str, ...] = ()
    id: str = field(default_factory=new_id)

    @property
    def required_pool(self) -> Pool:
        """Return the pool. Raises ValueError for a listener without one."""
        if self.pool is None:
            raise ValueError(f"the {self.protocol} listener has no pool")
        return self.pool

    @property
    def backend(self) -> str | None:
        """Return the name of its backend, which the agent takes apart: `<pool>:<listener>`."""
        return None if self.pool is None else f"{self.pool.id}:{self.id}"

    @property
    def by_haproxy(self) -> bool:
        """Return True if HAProxy serves it; else LVS."""
        return self.protocol not in ("UDP", "SCTP")


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An amphora of a load balancer, with its own address on the VIP's network."""

    id: str
    vrrp_ip: str


@dataclass(frozen=True, kw_only=True)
class LoadBalancer:
    """A load balancer. `vips` has the primary one first."""

    id: str = field(default_factory=new_id)
    project_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    vips: tuple[str, ...]
    listeners: tuple[Listener, ...]
    amphorae: tuple[Instance, ...]

    @property
    def topology(self) -> str:
        """Return Octavia's word."""
        return "SINGLE" if len(self.amphorae) == 1 else "ACTIVE_STANDBY"


def certificate_path(balancer_id: str, name: str) -> str:
    """Return where the agent stores an uploaded certificate."""
    return f"{CERTIFICATE_DIRECTORY}/{balancer_id}/{name}"
