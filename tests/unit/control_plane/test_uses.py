"""Kinds of load balancers, read from rows of the API."""

from __future__ import annotations

from typing import Any

import pytest

from retrofit.control_plane.uses import kinds_in_use


def kinds(
    *,
    monitor: dict[str, Any] | None = None,
    pool: dict[str, Any] | None = None,
    listener: dict[str, Any] | None = None,
    policies: tuple[dict[str, Any], ...] = (),
) -> set[str]:
    listeners = [
        {"id": "l", "protocol": "HTTP", "admin_state_up": True, "loadbalancers": [{"id": "lb"}]}
        | (listener or {})
    ]
    pools = [
        {
            "id": "p",
            "protocol": "HTTP",
            "admin_state_up": True,
            "listeners": [{"id": "l"}],
            "loadbalancers": [{"id": "lb"}],
        }
        | (pool or {})
    ]
    monitors = []
    if monitor is not None:
        monitors.append({"id": "m", "admin_state_up": True, "pools": [{"id": "p"}]} | monitor)
    found = kinds_in_use(listeners, pools, monitors, policies)
    assert found.keys() <= {"lb"}
    return set(found.get("lb", ()))


@pytest.mark.parametrize(
    ("monitor", "expected"),
    [
        ({"type": "HTTP", "http_version": 1.0}, {"http-monitor"}),
        ({"type": "HTTPS", "http_version": "1.1"}, {"http-monitor"}),
        (
            {"type": "HTTP", "http_version": 1.1, "domain_name": "x.org"},
            {"http-monitor-with-host"},
        ),
        ({"type": "HTTP", "http_version": None}, {"http-monitor-without-version"}),
        ({"type": "TCP"}, set()),
        ({"type": "HTTP", "http_version": 1.0, "admin_state_up": False}, set()),
    ],
)
def test_monitors_by_their_version(monitor: dict[str, Any], expected: set[str]) -> None:
    assert kinds(monitor=monitor) == expected


def test_a_prometheus_listener_counts_while_it_is_enabled() -> None:
    assert kinds(listener={"protocol": "PROMETHEUS"}) == {"prometheus"}
    assert kinds(listener={"protocol": "PROMETHEUS", "admin_state_up": False}) == set()


MONITOR = {"type": "HTTP", "http_version": 1.0}


@pytest.mark.parametrize(
    "pool", [{"admin_state_up": False}, {"listeners": []}, {"protocol": "UDP"}]
)
def test_what_octavia_does_not_write_does_not_count(pool: dict[str, Any]) -> None:
    assert kinds(monitor=MONITOR, pool=pool) == set()


def test_a_disabled_listener_takes_its_pool_with_it() -> None:
    assert kinds(monitor=MONITOR, listener={"admin_state_up": False}) == set()


@pytest.mark.parametrize(
    ("policy", "counts"),
    [({}, True), ({"rules": []}, False), ({"admin_state_up": False}, False)],
)
def test_a_pool_counts_that_an_enabled_policy_redirects_to(
    policy: dict[str, Any], counts: bool
) -> None:
    policies = ({"redirect_pool_id": "p", "listener_id": "l", "rules": [{"id": "r"}]} | policy,)
    found = kinds(monitor=MONITOR, pool={"listeners": []}, policies=policies)
    assert found == ({"http-monitor"} if counts else set())


def test_load_balancers_with_what_only_newer_agents_have_are_seen() -> None:
    rows = [
        {"id": "plain", "additional_vips": [], "vip_vnic_type": "normal"},
        {"id": "vips", "additional_vips": [{"ip_address": "192.0.2.7"}]},
        {"id": "direct", "vip_vnic_type": "direct"},
    ]
    assert kinds_in_use([], [], [], [], load_balancers=rows) == {
        "vips": frozenset({"additional-vips"}),
        "direct": frozenset({"sr-iov-vip"}),
    }
