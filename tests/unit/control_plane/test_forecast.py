"""What a build will meet, told before it."""

from __future__ import annotations

from retrofit.control_plane.forecast import forecast, refused_kinds
from retrofit.control_plane.releases import ControlPlane, from_api, stated


def test_a_forecast_names_kinds_series_and_those_that_would_pass() -> None:
    (told,) = forecast(stated("2025.1", "octavia.release"), None, "noble", ["noble", "jammy"])
    assert "2025.1 (octavia.release)" in told
    assert "http-monitor, http-monitor-with-host" in told
    assert "HAProxy 2.8 of noble" in told
    assert "of the configured series jammy would pass" in told


def test_a_forecast_says_where_no_configured_series_would_pass() -> None:
    (told,) = forecast(stated("2024.1", ""), None, "resolute", ["resolute", "noble"])
    assert "series none would pass" in told


def test_nothing_is_forecast_for_what_fits_or_is_not_known() -> None:
    old = stated("2025.1", "")
    assert forecast(old, None, "jammy", ["jammy"]) == []
    assert forecast(stated("2025.2", ""), None, "noble", ["noble"]) == []
    assert forecast(old, None, None, ["noble"]) == []
    assert forecast(ControlPlane(how="unknown"), None, "noble", ["noble"]) == []


def test_an_interval_refuses_only_what_all_of_it_writes() -> None:
    assert refused_kinds(from_api(["v2.30"]), "3.0.11") == ()
    names = [kind.name for kind in refused_kinds(from_api(["v2.28"]), "3.0.11")]
    assert names == ["http-monitor", "http-monitor-with-host", "prometheus"]
