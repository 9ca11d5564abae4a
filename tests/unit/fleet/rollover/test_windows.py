"""When load balancers may be moved: cron and a length, in a time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from retrofit.config import RolloverSettings
from retrofit.config.rollover import WindowSettings
from retrofit.fleet.rollover.windows import is_open, next_opening

BERLIN = WindowSettings(start="0 1 * * mon-fri", minutes=240, time_zone="Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def settings(*windows: WindowSettings, outages: str = "always") -> RolloverSettings:
    return RolloverSettings.model_validate({"windows": windows, "outages": outages})


@pytest.mark.parametrize(
    ("now", "is_within"),
    [
        ("2026-11-26T23:59:59", False),  # Friday 00:59:59 in Berlin
        ("2026-11-27T00:00:00", True),
        ("2026-11-27T03:59:59", True),
        ("2026-11-27T04:00:00", False),
        ("2026-11-28T00:30:00", False),  # Saturday
        ("2026-07-02T23:00:00", True),  # in summer the clock is two hours ahead of UTC
        ("2026-07-03T03:00:00", False),
        ("2026-03-30T23:00:00", True),
    ],
)
def test_a_window_is_open_from_its_start_to_its_end(now: str, is_within: bool) -> None:
    assert is_open(settings(BERLIN), at(now)) is is_within


@pytest.mark.parametrize("day", ["2026-10-25", "2026-03-29", "2026-06-01"])
@pytest.mark.parametrize("start", ["0 2 * * *", "30 2 * * *", "30 1 * * *"])
def test_a_window_is_never_longer_than_its_length(day: str, start: str) -> None:
    window = WindowSettings(start=start, minutes=60, time_zone="Europe/Berlin")
    minutes = (at(day) + timedelta(minutes=each) for each in range(-180, 900))
    assert 0 < sum(is_open(settings(window), each) for each in minutes) <= 60


def test_a_window_that_is_longer_than_a_day_overlaps_itself() -> None:
    weekend = WindowSettings(start="0 22 * * fri", minutes=2 * 1440)
    assert is_open(settings(weekend), at("2026-11-29T21:59:00"))
    assert not is_open(settings(weekend), at("2026-11-29T22:00:00"))
    always = WindowSettings(start="0 0 * * *", minutes=3 * 1440)
    assert is_open(settings(always), at("2026-11-29T23:59:59"))


def test_names_the_next_opening() -> None:
    assert next_opening(settings(BERLIN), at("2026-11-27T05:00:00")) == at("2026-11-30T00:00:00")
    now = at("2026-11-27T01:00:00")
    assert next_opening(settings(BERLIN), now) == now
    quiet = BERLIN.model_copy(update={"outages": False})
    noon = WindowSettings(start="0 12 * * *")
    both = settings(quiet, noon, outages="window")
    assert next_opening(both, now) == now
    assert next_opening(both, now, outage=True) == at("2026-11-27T12:00:00")
    assert next_opening(settings(quiet, outages="window"), now, outage=True) is None
    assert next_opening(settings(BERLIN, outages="never"), now, outage=True) is None
    assert next_opening(settings(outages="window"), now, outage=True) is None


def test_without_windows_every_time_will_do() -> None:
    now = at("2026-11-27T12:34:56")
    assert is_open(settings(), now)
    assert is_open(settings(), now, outage=True)
    assert not is_open(settings(outages="window"), now, outage=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": "0 1 * *"},
        {"start": "0 1 * * 1"},
        {"start": "61 1 * * mon"},
        {"start": "0 1 * * mon", "time_zone": "Europe/Nowhere"},
        {"start": "0 1 * * mon", "time_zone": "../etc/passwd"},
        {"start": "0 1 * * mon", "minutes": 0},
        {"minutes": 10},
    ],
)
def test_refuses_what_is_no_window(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WindowSettings.model_validate(wrong)
