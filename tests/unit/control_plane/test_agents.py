"""Agents against control planes: distances, features, defects."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from retrofit.control_plane.agents import (
    ADDITIONAL_VIPS,
    CONFIGURATION_UPDATE,
    DEFECTS,
    LVS_OF_BOTH_FAMILIES,
    Feature,
    agent_version,
    distance,
    forecast,
    planned_agent,
)
from retrofit.control_plane.expectation import Expectation, Finding
from retrofit.control_plane.releases import ControlPlane, from_api, stated
from retrofit.control_plane.version import RELEASE_CHECK, version_findings
from retrofit.verify.boot.checks import CHECKS
from retrofit.verify.offline import RULES

ELEMENTS = Path(__file__).parents[3] / "elements"

NEW, OLD = stated("2025.1", "octavia.release"), stated("2023.1", "octavia.release")


def judged(
    plane: ControlPlane,
    agent: str,
    *,
    used: Collection[str] | None = None,
    version: str = "refuse",
    has: Collection[Feature] = (ADDITIONAL_VIPS,),
) -> dict[str, Finding]:
    expected = Expectation(
        plane=plane,
        used=None if used is None else frozenset(used),
        version=version,  # type: ignore[arg-type]
    )
    return {each.name: each for each in version_findings(expected, agent, has.__contains__)}


@pytest.mark.parametrize(
    ("plane", "agent", "words"),
    [
        (NEW, 16, None),
        (NEW, 14, None),
        (NEW, 13, "3 releases older"),
        (NEW, 17, "newer than octavia 2025.1"),
        (from_api(["v2.30"]), 14, None),
        (from_api(["v2.30"]), 19, None),
        (from_api(["v2.28"]), 16, "newer than octavia 2024.1 to 2024.2"),
        (ControlPlane(how="unknown"), 6, None),
    ],
)
def test_agents_further_apart_than_upgrades_are_tested_are_named(
    plane: ControlPlane, agent: int, words: str | None
) -> None:
    found = distance(plane, agent)
    assert (found is None) == (words is None)
    assert (words or "") in (found or "")


def test_distance_warns_in_both_directions_and_never_refuses() -> None:
    for plane, agent in ((NEW, "11.0.0"), (OLD, "18.0.0")):
        found = judged(plane, agent)[RELEASE_CHECK]
        assert (found.refused, found.refuses) == (True, False)


@pytest.mark.parametrize(
    ("used", "version", "refuses"),
    [
        ({"sr-iov-vip"}, "refuse", True),
        ({"sr-iov-vip"}, "warn", False),
        (set(), "refuse", False),
        (None, "refuse", False),
    ],
)
def test_a_feature_that_the_agent_lacks_refuses_it_where_a_load_balancer_uses_it(
    used: Collection[str] | None, version: str, refuses: bool
) -> None:
    found = judged(NEW, "13.0.0", used=used, version=version)
    lacks = found["agent-has-sr-iov-vip"]
    assert (lacks.refused, lacks.refuses) == (True, refuses)
    assert ("ways out: take a newer agent (build.cloud_archive" in lacks.detail) == refuses
    assert not found["agent-has-additional-vips"].refused


def test_a_feature_that_no_release_in_question_asks_for_is_not_looked_for() -> None:
    assert "agent-has-sr-iov-vip" not in judged(OLD, "11.0.0")


def test_nothing_is_judged_where_nobody_wants_to_know_or_nothing_is_known() -> None:
    assert judged(NEW, "11.0.0", version="ignore") == {}
    assert judged(ControlPlane(how="unknown"), "11.0.0") == {}
    assert judged(NEW, "unknown") == {}


@pytest.mark.parametrize(
    ("options", "agent"),
    [
        ({"agent": "distro", "cloud_archive": None}, 10),
        ({"agent": "distro", "cloud_archive": "caracal-proposed"}, 14),
        ({"agent": "pypi", "agent_version": "18.0.1", "cloud_archive": "caracal"}, 18),
        ({"agent": "pypi", "cloud_archive": None}, None),
        ({"agent": "distro", "cloud_archive": "unheard-of"}, None),
    ],
)
def test_the_agent_of_a_build_follows_from_its_settings(
    options: dict[str, str | None], agent: int | None
) -> None:
    given = {"agent_version": None, **options}
    assert planned_agent("jammy", **given) == agent  # type: ignore[arg-type]


def test_a_forecast_names_what_the_agent_of_a_build_will_lack() -> None:
    apart, vips, rules = forecast(NEW, 10)
    assert "6 releases older" in apart
    assert "no additional VIPs" in vips
    assert "no rules of interfaces" in rules
    assert forecast(NEW, 16) == forecast(NEW, None) == []


@pytest.mark.parametrize(
    ("version", "mended"),
    [("14.0.2", False), ("15.0.0", False), ("15.1.0", True), ("16.0.0", False), ("16.0.1", True),
     ("17.0.0", True), ("19.0.0", True)],
)  # fmt: skip
def test_a_fix_counts_from_its_first_version_in_each_release(version: str, mended: bool) -> None:
    numbers = agent_version(version)
    assert numbers is not None
    assert CONFIGURATION_UPDATE.is_in(numbers) is mended


@pytest.mark.parametrize(
    ("version", "concerned"),
    [("10.1.1", False), ("11.0.0", True), ("11.0.2", True), ("12.0.0", True), ("12.0.1", False),
     ("19.0.0", False)],
)  # fmt: skip
def test_a_defect_concerns_the_versions_between_its_coming_and_its_end(
    version: str, concerned: bool
) -> None:
    numbers = agent_version(version)
    assert numbers is not None
    assert LVS_OF_BOTH_FAMILIES.concerns(numbers) is concerned


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("16.0.0", (16, 0, 0)), ("10.1.1-0ubuntu1", (10, 1, 1)), ("17.0.0.0rc2.dev4", (17, 0, 0)),
     ("16", (16,)), ("", None), ("dev", None), ("20260911", None), ("1!16.0.0", None),
     ("2:16.0.0", None)],
)  # fmt: skip
def test_a_version_is_the_numbers_at_its_beginning(
    text: str, numbers: tuple[int, ...] | None
) -> None:
    found = agent_version(text)
    assert found is None if numbers is None else found is not None and found[:3] == numbers


def test_every_defect_names_checks_or_an_element_that_are_there() -> None:
    known = {*RULES, *(check.name for check in CHECKS), *(p.name for p in ELEMENTS.iterdir())}
    for defect in DEFECTS:
        assert set(defect.answer) <= known, defect.name
        assert defect.source
