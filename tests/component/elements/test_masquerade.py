"""The rules that LVS needs in the load balancer's namespace, as the kernel takes them."""

from __future__ import annotations

import os

import pytest

from tests.component.elements.element_scripts import ELEMENTS, required, run

MASQUERADE = ELEMENTS / "amphora-lvs/static/usr/local/bin/lvs-masquerade.sh"


def _ruleset(*calls: str) -> str:
    """Run the script with each call's arguments, and return what the kernel has then."""
    assert required("nft")
    script = "; ".join(f"{MASQUERADE} {call}" for call in calls)
    namespace = ["unshare", "--net"]
    if os.geteuid() != 0:
        namespace.append("--map-root-user")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    result = run(*namespace, "/bin/sh", "-euc", f"{script}; nft list ruleset", PATH=path)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_udp_and_sctp_are_masqueraded_and_tcp_is_not_tracked() -> None:
    rules = _ruleset("add ipv4 eth1")

    assert 'oifname "eth1" meta l4proto { udp, sctp } masquerade' in rules
    assert 'iifname "eth1" meta l4proto tcp notrack' in rules
    assert 'oifname "eth1" meta l4proto tcp notrack' in rules


def test_tcp_of_an_sriov_interface_is_the_agents_own_business() -> None:
    rules = _ruleset("add ipv6 eth1 sriov")

    assert "table ip6 " in rules
    assert "masquerade" in rules
    assert "notrack" not in rules


def test_an_interface_may_come_up_twice() -> None:
    assert _ruleset("add ipv4 eth1", "add ipv4 eth1") == _ruleset("add ipv4 eth1")


def test_an_interface_that_goes_down_takes_no_others_rules_along() -> None:
    rules = _ruleset("add ipv4 eth1", "add ipv6 eth1", "add ipv4 eth2", "delete ipv4 eth1")

    assert rules == _ruleset("add ipv6 eth1", "add ipv4 eth2")


def test_an_interface_may_go_down_without_ever_having_come_up() -> None:
    assert _ruleset("delete ipv4 eth1") == ""


@pytest.mark.parametrize("call", ["", "add", "add ipv4", "add ipv5 eth1", "flush ipv4 eth1"])
def test_masquerading_refuses_what_it_does_not_know(call: str) -> None:
    result = run(MASQUERADE, *call.split())

    assert result.returncode == 1
    assert result.stderr.startswith("Usage: lvs-masquerade.sh add|delete ")
