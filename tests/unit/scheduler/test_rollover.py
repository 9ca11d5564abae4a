"""When the worker rolls over: for targets that want it, beside its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler

from retrofit.config import RolloverSettings, Settings, Target
from scheduler.jobs import ScheduledJob
from scheduler.rollover import NAME, PACE, Rollovers

CONFIG = Path("/etc/retrofit/retrofit.toml")


class Runs:
    """What is started, instead of processes."""

    def __init__(self) -> None:
        self.started: list[tuple[tuple[str, ...], Path]] = []

    def roll_over(self, job: ScheduledJob, config: Path) -> None:
        self.started.append((job.targets, config))


def settings(**enabled: bool) -> Settings:
    return Settings(
        targets=tuple(
            Target(name=name, rollover=RolloverSettings(enabled=wanted))
            for name, wanted in enabled.items()
        )
    )


def test_rolls_over_what_is_enabled_and_follows_the_configuration() -> None:
    scheduler: Any = BackgroundScheduler()
    runs: Any = Runs()
    rollovers = Rollovers(scheduler, runs, lambda: CONFIG)
    rollovers.schedule(settings(noble=False))
    assert scheduler.get_jobs() == []
    rollovers.schedule(settings(noble=True, jammy=False))
    (job,) = scheduler.get_jobs()
    assert (job.id, job.trigger.interval.total_seconds()) == (NAME, PACE)
    rollovers.roll_over()
    rollovers.schedule(settings(noble=True, jammy=True))
    assert scheduler.get_jobs() == [job]
    rollovers.roll_over()
    assert runs.started == [(("noble",), CONFIG), (("noble", "jammy"), CONFIG)]
    rollovers.schedule(settings(noble=False))
    assert scheduler.get_jobs() == []
    rollovers.roll_over()
    assert len(runs.started) == 2
