"""Which checks a level, a name and an agent's release ask for."""

from __future__ import annotations

import inspect
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from retrofit.config import VerifySettings
from retrofit.control_plane.agents import ADDITIONAL_VIPS, INTERFACE_RULES
from retrofit.errors import ConfigError
from retrofit.model import Outcome
from retrofit.verify.boot.checks import CHECKS
from retrofit.verify.boot.registry import of_level, with_needs
from retrofit.verify.boot.trial import Trial
from retrofit.verify.checks import Record
from retrofit.verify.offline import RULES
from retrofit.verify.request import VerifyRequest
from retrofit.verify.verify import _list_left_out, chosen

ASKED_OF_FULL = (
    "management-ipv4", "management-ipv6", "ping-monitor", "http-monitor", "tcp-monitor",
    "udp-connect-monitor", "http-over-ipv6-vip", "additional-vip", "member-network",
    "ipv6-member", "l7-policy", "tls", "http2-alpn", "client-authentication",
    "backend-re-encryption", "proxy-protocol", "udp-through-lvs", "sctp-through-lvs",
    "vrrp-master", "vrrp-yields", "vrrp-returns", "vip-after-reboot", "vip-after-power-cut",
    "log-offloading", "certificate-rotation", "interface-rules", "listener-deleted",
    "statistics-in-heartbeats",
)  # fmt: skip


def names(checks: Any) -> list[str]:
    return [check.name for check in checks]


def test_full_asks_for_all_that_load_balancers_ask() -> None:
    assert set(ASKED_OF_FULL) <= set(names(of_level(CHECKS, "full")))
    assert not set(ASKED_OF_FULL) & set(names(of_level(CHECKS, "boot")))
    assert of_level(CHECKS, "offline") == ()


def test_each_level_asks_for_more() -> None:
    levels = [set(names(of_level(CHECKS, level))) for level in ("offline", "boot", "full")]
    assert levels[0] < levels[1] < levels[2] == set(names(CHECKS))


def test_names_are_unique_and_needs_come_before() -> None:
    listed = [*RULES, *names(CHECKS)]
    assert len(set(listed)) == len(listed)
    before: set[str] = set()
    scenario = {check.name: check.scenario for check in CHECKS}
    for check in CHECKS:
        assert set(check.needs) <= before
        assert all(scenario[need] == check.scenario for need in check.needs)
        assert inspect.getdoc(check.run)
        before.add(check.name)


def test_a_check_alone_brings_what_it_needs_and_no_more() -> None:
    needed = names(with_needs(CHECKS, ["certificate-rotation"]))
    assert needed == ["agent-answers", "certificate-rotation"]
    needed = names(with_needs(CHECKS, ["vrrp-yields"]))
    assert needed == [
        "management-ipv6", "pair-vip-plugged", "pair-started", "vrrp-master", "vrrp-yields",
    ]  # fmt: skip


def request(level: str, *only: str) -> VerifyRequest:
    settings = VerifySettings.model_validate({"level": level})
    return cast(VerifyRequest, SimpleNamespace(settings=settings, only=only))


def test_only_makes_the_named_rule_and_check() -> None:
    rules, checks = chosen(request("full", "kernel-modules", "heartbeat"))
    assert list(rules) == ["kernel-modules"]
    assert names(checks) == ["agent-answers", "heartbeat"]
    rules, checks = chosen(request("full", "kernel-modules"))
    assert (list(rules), checks) == (["kernel-modules"], ())


@pytest.mark.parametrize(
    "name", ["haproxy-takes-2025.1-http-monitor", "keepalived-takes-2025.2-vrrp-ipv6"]
)
def test_a_question_to_the_image_is_asked_by_the_check_that_asks_all(name: str) -> None:
    _, checks = chosen(request("full", name))
    assert names(checks) == ["agent-answers", "control-plane-asked"]


def test_an_unknown_check_and_one_of_a_higher_level_are_refused() -> None:
    with pytest.raises(ConfigError, match="there is no check pong-monitor"):
        chosen(request("full", "pong-monitor"))
    with pytest.raises(ConfigError, match="ping-monitor is no check of level boot") as refused:
        chosen(request("boot", "ping-monitor"))
    assert refused.value.hint == "set verify.level = full"


@pytest.mark.parametrize("level", ["offline", "boot"])
def test_what_a_level_leaves_out_is_listed_as_left_out(level: str) -> None:
    record = Record()
    for check in of_level(CHECKS, level):
        record.add(check.name, Outcome.PASSED, "", 0.0)
    _list_left_out(record, level)
    listed = {check.name: check for check in record.checks}
    assert set(listed) == set(names(CHECKS))
    assert listed["ping-monitor"].outcome is Outcome.SKIPPED
    assert f"verify.level is {level}" in listed["ping-monitor"].detail


def test_full_leaves_nothing_out() -> None:
    record = Record()
    for check in CHECKS:
        record.add(check.name, Outcome.PASSED, "", 0.0)
    _list_left_out(record, "full")
    assert len(record.checks) == len(CHECKS)


def outcomes(release: int | None) -> dict[str, Any]:
    """Outcomes of the checks of features, for an agent of that release."""
    asked = [check for check in CHECKS if check.features]
    trial = cast(Trial, SimpleNamespace(release=release))
    vars(trial)["has"] = partial(Trial.has, trial)
    record = Record()
    for check in asked:
        made = type(check)(
            name=check.name, run=lambda _: "asked", features=check.features, needs=()
        )
        record.attempt(check.name, lambda made=made: Trial._ask(trial, made))  # type: ignore[misc]
    return {check.name: check for check in record.checks}


def test_an_agent_is_not_asked_for_what_its_release_does_not_have() -> None:
    old = outcomes(10)
    assert old["additional-vip"].outcome is Outcome.NOT_APPLICABLE
    assert "octavia 11" in old["additional-vip"].detail
    assert "release is 10" in old["additional-vip"].detail
    assert outcomes(13)["interface-rules"].outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("release", [ADDITIONAL_VIPS.since, INTERFACE_RULES.since, 19, None])
def test_an_agent_is_asked_for_all_that_it_should_have(release: int | None) -> None:
    asked = outcomes(release)
    assert asked["additional-vip"].outcome is Outcome.PASSED
    if release is None or release >= INTERFACE_RULES.since:
        assert asked["interface-rules"].outcome is Outcome.PASSED
