"""The worker's rollovers: each is a process of its own, beside the runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from retrofit.config import Settings
from scheduler.jobs import ScheduledJob
from scheduler.runs import ROLLOVERS, Runs

NAME = ROLLOVERS
"""Of the job, and of its executor: no build keeps a rollover waiting, no rollover a build."""
PACE = 600
"""Seconds between two looks at what is due; one that is at work is not disturbed."""
FIRST = 60
"""Seconds from the worker's start to the first: its runs come first."""


class Rollovers:
    """Rolls the targets over whose configuration wants that."""

    def __init__(self, scheduler: Any, runs: Runs, written: Callable[[], Path]) -> None:
        self._scheduler = scheduler
        self._runs = runs
        self._written = written
        self._job: ScheduledJob | None = None

    def schedule(self, settings: Settings) -> None:
        """Make the job that of `settings`; it keeps its next time."""
        wanted = [target for target in settings.targets if target.rollover.enabled]
        before = self._job
        self._job = (
            ScheduledJob(
                targets=tuple(target.name for target in wanted), schedule=wanted[0].schedule
            )
            if wanted
            else None
        )
        if before is None and self._job is not None:
            first = datetime.now(UTC) + timedelta(seconds=FIRST)
            self._scheduler.add_job(
                self.roll_over,
                "interval",
                seconds=PACE,
                id=NAME,
                executor=NAME,
                next_run_time=first,
            )
        elif before is not None and self._job is None:
            self._scheduler.remove_job(NAME)

    def roll_over(self) -> None:
        """Roll over what is enabled now."""
        job = self._job
        if job is not None:
            self._runs.roll_over(job, self._written())
