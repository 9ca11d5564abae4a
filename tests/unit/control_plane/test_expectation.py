"""What refuses an image, and what only warns."""

from __future__ import annotations

import pytest

from retrofit.control_plane.expectation import (
    WAYS_OUT,
    Expectation,
    findings,
    inferred,
    without_ways_out,
)
from retrofit.control_plane.releases import ControlPlane, from_api, stated

OLD = stated("2025.1", "octavia.release")
TOLD = "HAProxy refuses it"


def judged(
    plane: ControlPlane,
    *,
    used: frozenset[str] | None = None,
    language: str = "refuse",
    proven: bool = True,
    haproxy: str = "3.0.11",
) -> dict[str, tuple[bool, bool]]:
    expected = Expectation(plane=plane, used=used, language=language)  # type: ignore[arg-type]
    answers = inferred(expected, haproxy)
    return {
        each.name: (each.refused, each.refuses)
        for each in findings(expected, answers, proven=proven)
    }


def test_a_kind_that_every_version_of_the_release_writes_so_refuses_the_image() -> None:
    found = judged(OLD)
    assert found["haproxy-takes-2025.1-http-monitor"] == (True, True)
    assert found["haproxy-takes-2025.1-http"] == (False, False)


def test_a_kind_that_a_version_of_the_release_avoids_warns() -> None:
    assert judged(OLD)["haproxy-takes-2025.1-prometheus"] == (True, False)
    exact = stated("16.0.1", "octavia.release")
    assert judged(exact)["haproxy-takes-2025.1-prometheus"] == (True, True)


@pytest.mark.parametrize(
    ("used", "refuses"),
    [(None, True), (frozenset({"http-monitor"}), True), (frozenset({"prometheus"}), False)],
)
def test_a_kind_that_no_load_balancer_is_of_warns(
    used: frozenset[str] | None, refuses: bool
) -> None:
    assert judged(OLD, used=used)["haproxy-takes-2025.1-http-monitor"] == (True, refuses)


def test_what_is_inferred_warns() -> None:
    assert judged(OLD, proven=False)["haproxy-takes-2025.1-http-monitor"] == (True, False)


def test_an_interval_refuses_only_what_no_release_in_it_avoids() -> None:
    found = judged(from_api(["v2.30"]))
    assert found["haproxy-takes-2025.1-http-monitor"] == (True, False)
    assert found["haproxy-takes-2025.2-http-monitor"] == (False, False)
    found = judged(from_api(["v2.28"]))
    assert found["haproxy-takes-2024.2-http-monitor"] == (True, True)


def test_settings_warn_or_do_not_ask() -> None:
    assert judged(OLD, language="warn")["haproxy-takes-2025.1-http-monitor"] == (True, False)
    assert judged(OLD, language="ignore") == {}


def test_an_unknown_release_asks_nothing() -> None:
    assert judged(ControlPlane(how="octavia.query is never")) == {}


def test_newer_releases_and_older_haproxies_pass() -> None:
    assert not any(refused for refused, _ in judged(stated("2025.2", "")).values())
    old = judged(stated("16.1.0", ""), haproxy="2.6.12")
    assert not any(refused for refused, _ in old.values())


def test_a_refusal_names_release_words_and_ways_out() -> None:
    expected = Expectation(plane=OLD)
    found = findings(expected, inferred(expected, "3.0.11"), proven=True)
    detail = next(each.detail for each in found if each.refuses)
    assert "2025.1 (octavia.release)" in detail
    assert "hiding headers or body" in detail
    assert "upgrade the control plane" in detail
    assert "source.series" in detail


def test_ways_out_are_told_once_and_apart_from_what_failed() -> None:
    expected = Expectation(plane=OLD)
    refusals = [
        each.detail
        for each in findings(expected, inferred(expected, "3.0.11"), proven=True)
        if each.refuses
    ]
    assert len(refusals) == 2
    details, ways_out = without_ways_out([*refusals, "no such file"])
    assert ways_out == [WAYS_OUT]
    assert all("upgrade the control plane" not in each for each in details)
    assert details[-1] == "no such file"
