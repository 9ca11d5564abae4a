"""When a job runs first, and which targets share one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from retrofit.config import BuildSettings, CloudSettings, ScheduleSettings, Settings, Target
from scheduler.jobs import ScheduledJob, jobs_for

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)


def job(**schedule: Any) -> ScheduledJob:
    return ScheduledJob(targets=("default",), schedule=ScheduleSettings(**schedule))


@pytest.mark.parametrize(
    ("schedule", "last", "first"),
    [
        ({"interval": 3600}, None, NOW),
        ({"interval": 3600}, NOW - 3 * HOUR, NOW),
        ({"interval": 3600}, NOW - HOUR / 2, NOW + HOUR / 2),
        ({"interval": 3600, "catch_up": False}, None, NOW + HOUR),
        ({"interval": 3600, "catch_up": False}, NOW - 3 * HOUR, NOW + HOUR),
        ({}, NOW - HOUR / 2, NOW + HOUR / 2),
        ({"cron": "0 3 * * *"}, NOW - 8 * HOUR, NOW + 15 * HOUR),
        ({"cron": "0 3 * * *"}, NOW - 20 * HOUR, NOW),
        ({"cron": "0 3 * * *", "catch_up": False}, NOW - 20 * HOUR, NOW + 15 * HOUR),
        # cron's 0 is a Sunday, APScheduler's a Monday: a name is a name.
        ({"cron": "0 3 * * sun"}, NOW - HOUR, datetime(2026, 11, 22, 3, 0, tzinfo=UTC)),
    ],
)
def test_first_run(schedule: dict[str, Any], last: datetime | None, first: datetime) -> None:
    last_runs = {} if last is None else {"default": last}
    assert job(**schedule).first_run(last_runs, NOW) == first


@given(
    interval=st.integers(60, 10**6),
    ago=st.one_of(st.none(), st.integers(0, 10**7)),
    catch_up=st.booleans(),
)
def test_no_first_run_lies_in_the_past_or_beyond_an_interval(
    interval: int, ago: int | None, catch_up: bool
) -> None:
    last_runs = {} if ago is None else {"default": NOW - timedelta(seconds=ago)}
    first = job(interval=interval, catch_up=catch_up).first_run(last_runs, NOW)
    assert NOW <= first <= NOW + timedelta(seconds=interval)


def test_a_clock_that_was_set_back_delays_by_an_interval_at_most() -> None:
    last_runs = {"default": NOW + timedelta(days=400)}
    assert job(interval=3600).first_run(last_runs, NOW) == NOW + HOUR
    assert job(cron="0 3 * * *").first_run(last_runs, NOW) == NOW + 15 * HOUR


def test_a_job_of_several_targets_is_missed_when_one_of_them_was() -> None:
    both = ScheduledJob(targets=("one", "two"), schedule=ScheduleSettings(interval=3600))
    assert both.first_run({"one": NOW - HOUR / 4}, NOW) == NOW
    last_runs = {"one": NOW - HOUR / 4, "two": NOW - HOUR / 2}
    assert both.first_run(last_runs, NOW) == NOW + HOUR / 2


def test_jitter_only_ever_puts_off() -> None:
    trigger = job(interval=3600, jitter=600).trigger()
    times = [trigger.get_next_fire_time(NOW, NOW) for _ in range(50)]
    assert all(NOW + HOUR <= when <= NOW + HOUR + timedelta(seconds=600) for when in times)
    assert len(set(times)) > 1
    assert job(interval=3600, jitter=600).phrase() == "every hour, up to 10 minutes later"


def test_targets_that_may_share_a_build_are_one_job() -> None:
    def target(name: str, region: str, **changed: Any) -> Target:
        return Target(name=name, cloud=CloudSettings(region=region), **changed)

    nightly = ScheduleSettings(cron="0 3 * * *")
    settings = Settings(
        targets=(
            target("one", "RegionOne"),
            target("pypi", "RegionOne", build=BuildSettings(agent="pypi")),
            target("two", "RegionTwo"),
            target("nightly", "RegionTwo", schedule=nightly),
        )
    )
    assert [each.targets for each in jobs_for(settings)] == [
        ("one", "two"),
        ("pypi",),
        ("nightly",),
    ]


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ({"interval": 3600, "cron": "0 3 * * *"}, "set either interval or cron"),
        ({"cron": "0 3 * *"}, "five fields"),
        ({"cron": "61 3 * * *"}, "61"),
        ({"cron": "0 3 * * 0"}, "name the days of the week"),
        ({"cron": "0 3 * * 1-5"}, "name the days of the week"),
        ({"interval": 30}, "from 60 to 31622400"),
        ({"interval": 10**15}, "from 60 to 31622400"),
        ({"jitter": 10**12}, "from 0 to 31622400"),
        ({"cron": "0 0 30 2 *"}, "the time never comes"),
        ({"cron": "0 0 31 4,6,9,11 *"}, "the time never comes"),
    ],
)
def test_a_schedule_that_nobody_could_mean_is_refused(schedule: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ScheduleSettings(**schedule)
