"""Kinds of load balancers, as rows of Octavia's API show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from retrofit.control_plane.agents import ADDITIONAL_VIPS, INTERFACE_RULES

Row = Mapping[str, Any]


def kinds_in_use(
    listeners: Iterable[Row],
    pools: Iterable[Row],
    monitors: Iterable[Row],
    policies: Iterable[Row],
    load_balancers: Iterable[Row] = (),
) -> dict[str, frozenset[str]]:
    """Return the kinds of each load balancer, by its id, as far as releases differ in them.

    Octavia writes only what is enabled, and of pools those of an enabled listener: its default
    pool, and those to which its enabled policies with rules redirect.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for balancer in load_balancers:
        if balancer.get("additional_vips"):
            found[balancer["id"]].add(ADDITIONAL_VIPS.kind)
        if balancer.get("vip_vnic_type") == "direct":
            found[balancer["id"]].add(INTERFACE_RULES.kind)
    serving: dict[str, Row] = {}
    for listener in listeners:
        if not listener.get("admin_state_up", True):
            continue
        serving[listener["id"]] = listener
        for balancer in listener.get("loadbalancers") or ():
            if listener.get("protocol") == "PROMETHEUS":
                found[balancer["id"]].add("prometheus")
    redirects = {
        policy.get("redirect_pool_id")
        for policy in policies
        if policy.get("admin_state_up", True)
        and policy.get("rules")
        and policy.get("listener_id") in serving
    }
    by_pool = {
        pool["id"]: each
        for each in monitors
        if each.get("admin_state_up", True)
        for pool in each.get("pools") or ()
    }
    for pool in pools:
        monitor = by_pool.get(pool["id"])
        served = {each["id"] for each in pool.get("listeners") or ()} & serving.keys()
        if monitor is None or not pool.get("admin_state_up", True):
            continue
        if not served and pool["id"] not in redirects:
            continue
        kind = _kind_of(monitor, pool)
        for balancer in pool.get("loadbalancers") or () if kind else ():
            found[balancer["id"]].add(kind)
    return {balancer: frozenset(kinds) for balancer, kinds in found.items()}


def _kind_of(monitor: Row, pool: Row) -> str:
    """Return the kind of a health monitor that HAProxy makes; empty for any other."""
    if monitor.get("type") not in {"HTTP", "HTTPS"} or pool.get("protocol") in {"UDP", "SCTP"}:
        return ""
    version = monitor.get("http_version")
    if not version:
        return "http-monitor-without-version"
    if float(version) == 1.1 and monitor.get("domain_name"):
        return "http-monitor-with-host"
    return "http-monitor"
