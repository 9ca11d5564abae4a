"""The worker: it runs each target at its time, and survives every failure."""

from __future__ import annotations

import logging
import os
import queue
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
from apscheduler import events
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from retrofit.config import Settings
from retrofit.errors import InterruptedRunError, RetrofitError
from retrofit.runs.own_paths import claim_state
from retrofit.runs.timetable import (
    Timetable,
    TimetableEntry,
    remove_timetable,
    write_timetable,
)
from scheduler.configuration import Configuration
from scheduler.jobs import ScheduledJob, jobs_for
from scheduler.last_runs import last_runs
from scheduler.notifications import delivering
from scheduler.only_worker import only_worker
from scheduler.rollover import NAME as ROLLOVER
from scheduler.rollover import Rollovers
from scheduler.runs import RUN, Runs
from scheduler.sd_notify import Notifier
from scheduler.watch import Watch, watching
from scheduler.web import serving

log = structlog.get_logger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
PULSE = 5.0
"""Seconds between two proofs that the scheduler's thread does its work."""
PULSE_ID = "pulse of the worker"
"""Of the job: a target's name has no blank."""
DEAD_AFTER = 60.0
"""Seconds without a pulse after which the worker gives up: a restart mends that."""
BROKEN = 1
"""Exit code then."""


@dataclass(frozen=True, kw_only=True)
class PlannedJob:
    """A job with all that the scheduler needs to know of it."""

    job: ScheduledJob
    trigger: Any
    first_run: datetime


def _planned(settings: Settings) -> list[PlannedJob]:
    """Return the jobs of `settings` with their times."""
    now = datetime.now(UTC)
    before = last_runs(settings)
    planned = []
    for job in jobs_for(settings):
        job.latest(now)  # asked every few seconds later on: a time that cannot be is seen now
        planned.append(
            PlannedJob(job=job, trigger=job.trigger(), first_run=job.first_run(before, now))
        )
    return planned


class Worker:
    """One worker of one machine."""

    def __init__(
        self, config: Path | None, *, notifier: Notifier, command: Sequence[str] = RUN
    ) -> None:
        self._configuration = Configuration(config)
        self._notifier = notifier
        self._runs = Runs(command)
        self._jobs: dict[str, ScheduledJob] = {}
        self._requests: queue.SimpleQueue[signal.Signals | None] = queue.SimpleQueue()
        self._changed: queue.SimpleQueue[str] = queue.SimpleQueue()
        """Targets that the page asks the cloud about at once."""
        self._pulse = time.monotonic()
        self._published: dict[str, TimetableEntry] = {}
        self._scheduler: Any = BackgroundScheduler(
            timezone=UTC,
            job_defaults={
                # However late a run is, it does what has to be done now. Missed runs are coalesced
                # into one, and a job never runs twice at a time.
                "misfire_grace_time": None,
                "coalesce": True,
                "max_instances": 1,
            },
        )
        self._rollovers = Rollovers(self._scheduler, self._runs, self._configuration.written)

    def run(self) -> int:
        """Work until a signal ends it, and return the exit code.

        Raises ConfigError for a configuration that cannot be used, LockedError where a worker with
        the same state directory runs.
        """
        settings = self._configuration.accept(self._configuration.read())
        with ExitStack() as stack:
            claim_state(settings.paths)
            stack.enter_context(only_worker(settings.paths.state))
            stack.enter_context(self._signals_queued())
            # Whatever ends the worker, an internal error included: no run outlives it.
            stack.callback(self._runs.stop, grace=settings.worker.stop_timeout)
            self._start(settings)
            stack.callback(remove_timetable, settings.paths.state)
            stack.enter_context(delivering(lambda: self._configuration.settings))
            stack.enter_context(serving(lambda: self._configuration.settings, self._changed))
            stack.enter_context(
                watching(
                    Watch(
                        settings=lambda: self._configuration.settings,
                        repair=self._repair,
                        run=self._run_now,
                        changed=self._changed,
                    )
                )
            )
            return self._work()

    def _start(self, settings: Settings) -> None:
        for name, level in {"executors": logging.CRITICAL, "scheduler": logging.ERROR}.items():
            # `_on_event` logs these, as events of ours.
            logging.getLogger(f"apscheduler.{name}").setLevel(level)
        self._scheduler.add_executor(ThreadPoolExecutor(settings.worker.parallel), "default")
        self._scheduler.add_executor(DebugExecutor(), "pulse")
        self._scheduler.add_executor(ThreadPoolExecutor(1), ROLLOVER)
        self._scheduler.add_listener(
            self._on_event,
            events.EVENT_JOB_SUBMITTED
            | events.EVENT_JOB_EXECUTED
            | events.EVENT_JOB_ERROR
            | events.EVENT_JOB_MISSED
            | events.EVENT_JOB_MAX_INSTANCES,
        )
        self._schedule(_planned(settings))
        self._rollovers.schedule(settings)
        # In the scheduler's own thread: it beats while that thread does what it is there for.
        self._scheduler.add_job(
            self._beat, "interval", seconds=PULSE, id=PULSE_ID, executor="pulse"
        )
        self._scheduler.start()
        self._publish_timetable()
        self._notifier.ready(self._status())
        log.info("worker started", targets=[target.name for target in settings.targets])

    def _work(self) -> int:
        tick = min(PULSE, (self._notifier.watchdog or PULSE) / 4)
        while True:
            try:
                request = self._requests.get(timeout=tick)
            except queue.Empty:
                request = None
            silent = self._silence()
            if silent > DEAD_AFTER:
                log.error("scheduler thread does not respond", seconds=round(silent))
                self._stop("scheduler failed")
                return BROKEN
            if silent < 3 * PULSE:
                self._notifier.alive()
            if request in {signal.SIGTERM, signal.SIGINT}:
                self._stop(request.name)
                return InterruptedRunError.exit_code if request == signal.SIGINT else 0
            if request == signal.SIGHUP:
                self._reload()
            if request == signal.SIGUSR1:
                self._run_all_now()
            self._correct_next_runs()
            self._publish_timetable()

    def _beat(self) -> None:
        self._pulse = time.monotonic()

    def _silence(self) -> float:
        """Return the seconds since the scheduler's thread last did something."""
        return time.monotonic() - self._pulse

    def _schedule(self, planned: Sequence[PlannedJob]) -> None:
        """Make the jobs those that are planned; an unchanged job keeps its next time."""
        wanted = {each.job.name: each.job for each in planned}
        for name in self._jobs.keys() - wanted.keys():
            self._scheduler.remove_job(name)
        for each in planned:
            name = each.job.name
            if name in self._jobs and self._jobs[name].schedule == each.job.schedule:
                continue
            self._scheduler.add_job(
                self._run_job,
                each.trigger,
                args=[name],
                id=name,
                name=name,
                replace_existing=True,
                next_run_time=each.first_run,
            )
        self._jobs = wanted

    def _run_job(self, name: str) -> None:
        job = self._jobs.get(name)
        if job is not None:
            self._runs.run(job, self._configuration.written())
            for target in job.targets:  # the page shows what came of it
                self._changed.put(target)

    def _job_of(self, target: str) -> ScheduledJob | None:
        return next((job for job in self._jobs.values() if target in job.targets), None)

    def _repair(self, target: str) -> Mapping[str, str]:
        """Promote an image of a target where Octavia finds none; called in the watch's threads."""
        job = self._job_of(target)
        return {} if job is None else self._runs.repair(job, target, self._configuration.written())

    def _run_now(self, target: str) -> None:
        """Run a target as soon as the scheduler can; called in the watch's threads."""
        job = self._job_of(target)
        if job is not None:
            self._scheduler.modify_job(job.name, next_run_time=datetime.now(UTC))

    def _reload(self) -> None:
        self._notifier.reloading()
        before = self._configuration.settings
        try:
            # All that may fail comes before anything changes.
            reading = self._configuration.read()
            planned = _planned(reading.settings)
        except RetrofitError as error:
            log.error(  # noqa: TRY400  (an operator's mistake shows no traceback)
                "configuration refused, the one before stays in force",
                error=error.message,
                hint=error.hint,
            )
        except Exception:  # whatever a file says, the targets of the one before keep their runs
            log.exception("configuration refused, the one before stays in force")
        else:
            settings = self._configuration.accept(reading)
            for what in (
                "paths.state",
                "worker.parallel",
                "web.enabled",
                "web.address",
                "web.port",
            ):
                section, key = what.split(".")
                if getattr(getattr(settings, section), key) != getattr(
                    getattr(before, section), key
                ):
                    log.warning("setting takes effect when the worker starts again", setting=what)
            self._schedule(planned)
            self._rollovers.schedule(settings)
            names = [target.name for target in settings.targets]
            log.info("configuration read again", targets=names)
        self._notifier.ready(self._status())

    def _run_all_now(self) -> None:
        log.info("run of every target requested")
        for name in self._jobs:
            self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    def _stop(self, why: str) -> None:
        running = [each.name for each in self._runs.running()]
        log.info("worker stopping", why=why, running=running)
        self._notifier.stopping("stopping: a run cleans up" if running else "stopping")
        self._runs.stop(grace=self._configuration.settings.worker.stop_timeout)
        if self._silence() <= DEAD_AFTER:  # else it would wait for a thread that never ends
            self._scheduler.shutdown(wait=False)
        log.info("worker stopped")

    def _on_event(self, event: Any) -> None:
        """Log what APScheduler reports, as events of ours; called in its threads."""
        if event.job_id == PULSE_ID:
            return
        if event.code == events.EVENT_JOB_ERROR:
            log.error("worker failed to run a job", job=event.job_id, error=repr(event.exception))
        elif event.code == events.EVENT_JOB_MISSED:
            log.warning("run missed", job=event.job_id)
        elif event.code == events.EVENT_JOB_MAX_INSTANCES:
            log.info("run skipped, the run before has not ended", job=event.job_id)
        self._requests.put(None)

    def _correct_next_runs(self) -> None:
        """Bring next runs back into reach after the clock was set back: a boot may begin ahead."""
        now = datetime.now(UTC)
        for scheduled in self._scheduler.get_jobs():
            job = self._jobs.get(scheduled.id)
            if job is not None and scheduled.next_run_time > job.latest(now):
                log.warning("clock was set back, next run moved", job=job.name)
                scheduled.modify(next_run_time=job.latest(now))

    def _publish_timetable(self) -> None:
        """Write the timetable for the status commands, and notify systemd of the next run."""
        times = {job.id: job.next_run_time for job in self._scheduler.get_jobs()}
        since = {each.name: each.since for each in self._runs.running()}
        targets = {
            target: TimetableEntry(
                next_run=times.get(name),
                trigger=job.phrase(),
                running_since=since.get(name),
            )
            for name, job in self._jobs.items()
            for target in job.targets
        }
        if targets == self._published:
            return
        timetable = Timetable(pid=os.getpid(), updated_at=datetime.now(UTC), targets=targets)
        try:
            write_timetable(self._configuration.state, timetable)
        except OSError as error:
            log.warning("timetable not written", path=error.filename, error=str(error))
        self._published = targets
        self._notifier.status(self._status())

    def _status(self) -> str:
        running = [each.name for each in self._runs.running()]
        if running:
            return f"running: {', '.join(running)}"
        times = [
            (job.next_run_time, job.id)
            for job in self._scheduler.get_jobs()
            if job.id in self._jobs
        ]
        if not times:
            return "nothing to run"
        when, name = min(times)
        return f"next run: {name} at {when:%Y-%m-%d %H:%M:%S} UTC"

    @contextmanager
    def _signals_queued(self) -> Iterator[None]:
        """Queue signals: a handler may interrupt anything, so it does nothing else."""

        def handle(number: int, _frame: FrameType | None) -> None:
            self._requests.put(signal.Signals(number))

        previous: dict[signal.Signals, Callable[..., Any] | int | None] = {
            number: signal.signal(number, handle) for number in SIGNALS
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
