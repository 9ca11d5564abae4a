"""What verification would refuse of an image is refused before it is built."""

from __future__ import annotations

from typing import Any

import pytest

from retrofit.cloud.octavia import Octavia
from retrofit.cloud.octavia_errors import OctaviaError
from retrofit.config import BuildSettings, OctaviaSettings, SourceSettings, Target, VerifySettings
from retrofit.control_plane.expectation import Expectation
from retrofit.control_plane.releases import ControlPlane, from_api, stated
from retrofit.errors import CloudError, VerifyError
from retrofit.produce.preflight import control_plane
from retrofit.produce.preflight.control_plane import try_octavia
from retrofit.produce.preflight.tries import DoubtError

OLD, NEW = stated("2025.1", "octavia.release"), stated("2025.2", "octavia.release")


def tried(
    monkeypatch: pytest.MonkeyPatch, plane: ControlPlane, series: str | None = "noble", **more: Any
) -> str:
    expected = Expectation(
        plane=plane,
        used=more.pop("used", None),
        language=more.pop("language", "refuse"),
        version=more.pop("version", "refuse"),
    )
    monkeypatch.setattr(control_plane, "expectation", lambda _: expected)
    source = SourceSettings(series=("noble", "jammy"))
    target = Target(source=source, octavia=OctaviaSettings(query=more.pop("query", "auto")), **more)
    return try_octavia(target, series)


def test_a_release_whose_configurations_are_taken_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "2025.2" in tried(monkeypatch, NEW)
    assert "2025.1" in tried(monkeypatch, OLD, "jammy")
    assert "2025.1" in tried(monkeypatch, OLD, None)
    assert "2025.1" in tried(monkeypatch, OLD, language="ignore")
    assert "2025.1" in tried(monkeypatch, OLD, used=frozenset({"tcp"}))


def test_one_whose_configurations_are_refused_fails_with_the_series_that_would_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for used in (None, frozenset({"http-monitor"})):
        with pytest.raises(VerifyError, match=r"http-monitor.* HAProxy 2\.8 of noble") as told:
            tried(monkeypatch, OLD, used=used)
        assert "of the configured series jammy would pass" in (told.value.hint or "")
        assert "upgrade the control plane" in (told.value.hint or "")


@pytest.mark.parametrize(
    "more",
    [
        {"language": "warn"},
        {"verify": VerifySettings(level="offline")},
        {"build": BuildSettings(cloud_archive="caracal")},
        {"build": BuildSettings(ppas=("ppa:team/haproxy",))},
    ],
)
def test_what_only_a_boot_can_decide_warns(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    with pytest.raises(DoubtError, match="http-monitor"):
        tried(monkeypatch, OLD, **more)


@pytest.mark.parametrize("plane", [stated("2031.1", "octavia.release"), from_api(["v2.99"])])
def test_an_unknown_release_warns(monkeypatch: pytest.MonkeyPatch, plane: ControlPlane) -> None:
    with pytest.raises(DoubtError, match="does not know") as told:
        tried(monkeypatch, plane)
    assert "upgrade retrofit" in (told.value.hint or "")


def test_no_release_at_all_warns_where_it_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = ControlPlane(how="Octavia cannot be reached")
    with pytest.raises(DoubtError, match="Octavia cannot be reached"):
        tried(monkeypatch, plane)
    assert tried(monkeypatch, plane, language="ignore", version="ignore")


def test_a_required_answer_that_does_not_come_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_target: Target) -> Octavia:
        raise OctaviaError("find Octavia", "it is down", hint="start it")

    monkeypatch.setattr(Octavia, "connect", connect)
    with pytest.raises(CloudError, match="it is down"):
        tried(monkeypatch, NEW, query="require")
    assert tried(monkeypatch, NEW, query="auto")
