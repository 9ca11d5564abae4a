"""Which targets run when: from settings, past runs and a clock to jobs; nothing is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from retrofit.config import ScheduleSettings, Settings, Target
from retrofit.times import span


@dataclass(frozen=True, kw_only=True)
class ScheduledJob:
    """Targets that run together, in one process, one after the other.

    They have the same schedule and want the same image: one build serves them all.
    """

    targets: tuple[str, ...]
    schedule: ScheduleSettings

    @property
    def name(self) -> str:
        """Return the name that the scheduler knows it by."""
        return "+".join(self.targets)

    @property
    def time_limit(self) -> float:
        """Return the seconds that a run of it may take."""
        return float(self.schedule.time_limit * len(self.targets))

    def trigger(self) -> Any:
        """Return the trigger by which the scheduler finds the next time."""
        return _trigger(self.schedule, jitter=self.schedule.jitter)

    def phrase(self) -> str:
        """Return when it runs, for people."""
        schedule = self.schedule
        when = (
            f"cron {schedule.cron} UTC" if schedule.cron else f"every {span(schedule.seconds or 0)}"
        )
        return f"{when}, up to {span(schedule.jitter)} later" if schedule.jitter else when

    def first_run(self, last_runs: Mapping[str, datetime], now: datetime) -> datetime:
        """Return when it runs first after the worker started.

        `last_runs` has the start of each target's last run, where one is known. An unknown one
        counts as missed: a run costs little where there is nothing to do.
        """
        known = [last_runs.get(target) for target in self.targets]
        last = None if None in known else min(each for each in known if each is not None)
        # A clock that was ahead then must not keep us waiting until it is there again.
        due = now if last is None else _next(self.schedule, after=min(last, now))
        if due > now:
            return due
        return now if self.schedule.catch_up else _next(self.schedule, after=now)

    def latest(self, now: datetime) -> datetime:
        """Return the latest possible next run; a later one comes from a clock that was ahead."""
        return _next(self.schedule, after=now) + timedelta(seconds=self.schedule.jitter + 1)


def jobs_for(settings: Settings) -> list[ScheduledJob]:
    """Group the targets by what they share, in the order of the configuration."""
    alike: list[tuple[Target, list[str]]] = []
    for target in settings.targets:
        for first, names in alike:
            if _share_a_build(first, target):
                names.append(target.name)
                break
        else:
            alike.append((target, [target.name]))
    return [ScheduledJob(targets=tuple(names), schedule=first.schedule) for first, names in alike]


def _share_a_build(one: Target, other: Target) -> bool:
    """Return True if two targets might publish the same image at the same time."""
    parts: Sequence[str] = ("source", "build", "verify", "schedule")
    return all(getattr(one, part) == getattr(other, part) for part in parts)


def _trigger(schedule: ScheduleSettings, *, jitter: int | None = None) -> Any:
    if schedule.cron:
        trigger = CronTrigger.from_crontab(schedule.cron, timezone=UTC)
        trigger.jitter = jitter or None
        return trigger
    return IntervalTrigger(seconds=schedule.seconds, timezone=UTC, jitter=jitter or None)


def _next(schedule: ScheduleSettings, *, after: datetime) -> datetime:
    if schedule.seconds is not None:
        return after + timedelta(seconds=schedule.seconds)
    found = _trigger(schedule).get_next_fire_time(None, after + timedelta(microseconds=1))
    # The 30th of February: never.
    return found or datetime.max.replace(tzinfo=UTC)
