"""Keepalived's configuration of a UDP or SCTP listener, which the kernel serves by LVS.

`octavia/common/jinja/lvs/templates/`, as of Octavia 11 to 19, and of 10. The agent's health daemon
reads ids out of the comments: with other words in them it sends no heartbeat at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from retrofit.verify.boot.configs.model import (
    CONNECTION_LIMIT,
    Listener,
    LoadBalancer,
    Member,
    Monitor,
)

UDP_CHECK = "/var/lib/octavia/lvs/check/udp_check.sh"


def lvs_config(balancer: LoadBalancer, listener: Listener, *, grouped: bool = True) -> str:
    """Write the configuration of one listener.

    Without `grouped`, for one VIP and as Octavia 10 does: its agents find no members in a group.
    """
    lines = [
        f"# Configuration for Loadbalancer {balancer.id}",
        f"# Configuration for Listener {listener.id}",
        "",
        "net_namespace amphora-haproxy",
        "",
    ]
    if not grouped:
        (vip,) = balancer.vips
        lines += _server(listener, f"{vip} {listener.port}", listener.required_pool.members)
        return "\n".join(lines) + "\n"
    for version in (4, 6):
        vips = [vip for vip in balancer.vips if _version(vip) == version]
        if vips:
            lines += _group(listener, vips, version)
    return "\n".join(lines) + "\n"


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _group(listener: Listener, vips: list[str], version: int) -> Iterator[str]:
    yield f"virtual_server_group ipv{version}-group {{"
    for vip in vips:
        yield f"    {vip} {listener.port}"
    yield "}"
    yield ""
    members = [each for each in listener.required_pool.members if _version(each.address) == version]
    yield from _server(listener, f"group ipv{version}-group", members)


def _server(listener: Listener, name: str, members: Iterable[Member]) -> Iterator[str]:
    pool = listener.required_pool
    yield f"virtual_server {name} {{"
    yield "    lb_algo wrr"
    yield "    lb_kind NAT"
    yield f"    protocol {listener.protocol}"
    if pool.monitor is not None:
        yield f"    delay_loop {pool.monitor.delay}"
        yield f"    delay_before_retry {pool.monitor.delay}"
        yield f"    retry {pool.monitor.fall}"
    yield f"    # Configuration for Pool {pool.id}"
    if pool.monitor is not None:
        yield f"    # Configuration for HealthMonitor {pool.monitor.id}"
    for member in members:
        yield from _real_server(member, pool.monitor)
    yield "}"
    yield ""


def _real_server(member: Member, monitor: Monitor | None) -> Iterator[str]:
    yield f"    # Configuration for Member {member.id}"
    yield f"    real_server {member.address} {member.port} {{"
    yield "        weight 1"
    yield f"        uthreshold {CONNECTION_LIMIT}"
    if monitor is not None:
        where = f"{member.address} {member.port}"
        if monitor.type == "SCTP":
            command = f"amphora-health-checker sctp -t {monitor.timeout} {where}"
            timeout = monitor.timeout + 1
        else:
            command, timeout = f"{UDP_CHECK} {where}", monitor.timeout
        yield "        MISC_CHECK {"
        yield f'            misc_path "{command}"'
        yield f"            misc_timeout {timeout}"
        yield "        }"
    yield "    }"
