"""The worker: it waits, has each target run when its time has come, and outlives every failure."""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
from apscheduler import events
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from retrofit import state
from retrofit.config import Settings
from retrofit.errors import BusyError, ConfigError, InterruptedRunError, RetrofitError
from retrofit.places import make_place
from scheduler.configuration import Configuration
from scheduler.deliveries import delivering
from scheduler.jobs import Job, jobs_for
from scheduler.last_runs import last_runs
from scheduler.notify import Notifier
from scheduler.runs import RUN, Runs
from scheduler.web import serving

log = structlog.get_logger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
TIMETABLE = "schedule.json"
PULSE = 5.0
"""Seconds between two proofs that the scheduler's thread does its work."""
DEAD_AFTER = 60.0
"""Seconds without a pulse after which the worker gives up: whoever restarts it mends that."""
BROKEN = 1
"""Exit code then."""


class Worker:
    """One worker of one machine."""

    def __init__(
        self, config: Path | None, *, notifier: Notifier, command: Sequence[str] = RUN
    ) -> None:
        self._configuration = Configuration(config)
        self._notifier = notifier
        self._runs = Runs(command)
        self._jobs: dict[str, Job] = {}
        self._wishes: queue.SimpleQueue[signal.Signals | None] = queue.SimpleQueue()
        self._pulse = time.monotonic()
        self._told: dict[str, Any] = {}
        self._scheduler: Any = BackgroundScheduler(
            timezone=UTC,
            job_defaults={
                # However late a run is, it is wanted: it does what needs to be done now. Of several
                # that were missed one is enough, and never two at a time.
                "misfire_grace_time": None,
                "coalesce": True,
                "max_instances": 1,
            },
        )

    def run(self) -> int:
        """Work until a signal ends it, and return the exit code.

        Raises ConfigError for a configuration that cannot be used, BusyError where a worker with
        the same state directory runs.
        """
        settings = self._configuration.read()
        with ExitStack() as stack:
            stack.enter_context(_alone(settings.paths.state))
            stack.enter_context(self._signals_queued())
            # Whatever ends the worker, a bug of ours included: no run outlives it unseen.
            stack.callback(self._runs.stop, grace=settings.worker.stop_timeout)
            self._start(settings)
            stack.callback(state.remove, settings.paths.state / TIMETABLE)
            stack.enter_context(delivering(lambda: self._configuration.settings))
            stack.enter_context(serving(lambda: self._configuration.settings))
            return self._work()

    def _start(self, settings: Settings) -> None:
        for name, level in {"executors": logging.CRITICAL, "scheduler": logging.ERROR}.items():
            # What these say is told by `_on_event`, in our words.
            logging.getLogger(f"apscheduler.{name}").setLevel(level)
        self._scheduler.add_executor(ThreadPoolExecutor(settings.worker.parallel), "default")
        self._scheduler.add_executor(DebugExecutor(), "pulse")
        self._scheduler.add_listener(
            self._on_event,
            events.EVENT_JOB_SUBMITTED
            | events.EVENT_JOB_EXECUTED
            | events.EVENT_JOB_ERROR
            | events.EVENT_JOB_MISSED
            | events.EVENT_JOB_MAX_INSTANCES,
        )
        self._adopt(settings)
        # In the scheduler's own thread: it beats while that thread does what it is there for.
        self._scheduler.add_job(self._beat, "interval", seconds=PULSE, id="pulse", executor="pulse")
        self._scheduler.start()
        self._tell()
        self._notifier.ready(self._status())
        log.info("worker started", targets=[target.name for target in settings.targets])

    def _work(self) -> int:
        tick = min(PULSE, (self._notifier.watchdog or PULSE) / 4)
        while True:
            try:
                wish = self._wishes.get(timeout=tick)
            except queue.Empty:
                wish = None
            silent = time.monotonic() - self._pulse
            if silent > DEAD_AFTER:
                log.error("scheduler does nothing any more", seconds=round(silent))
                self._stop("scheduler failed")
                return BROKEN
            if silent < 3 * PULSE:
                self._notifier.alive()
            if wish in {signal.SIGTERM, signal.SIGINT}:
                self._stop(wish.name)
                return InterruptedRunError.exit_code if wish == signal.SIGINT else 0
            if wish == signal.SIGHUP:
                self._reload()
            if wish == signal.SIGUSR1:
                self._run_all_now()
            self._mind_the_clock()
            self._tell()

    def _beat(self) -> None:
        self._pulse = time.monotonic()

    def _adopt(self, settings: Settings) -> None:
        """Make the jobs those of `settings`; what has not changed keeps its next time."""
        now = datetime.now(UTC)
        wanted = {job.name: job for job in jobs_for(settings)}
        before = last_runs(settings)
        for name in self._jobs.keys() - wanted.keys():
            self._scheduler.remove_job(name)
        for name, job in wanted.items():
            if name in self._jobs and self._jobs[name].schedule == job.schedule:
                continue
            self._scheduler.add_job(
                self._run_job,
                job.trigger(),
                args=[name],
                id=name,
                name=name,
                replace_existing=True,
                next_run_time=job.first_run(before, now),
            )
        self._jobs = wanted

    def _run_job(self, name: str) -> None:
        job = self._jobs.get(name)
        if job is not None:
            self._runs.run(job, self._configuration.written())

    def _reload(self) -> None:
        self._notifier.reloading()
        before = self._configuration.settings
        try:
            settings = self._configuration.read()
        except RetrofitError as error:
            log.error(  # noqa: TRY400  (an operator's mistake shows no traceback)
                "configuration refused, the one before stays in force",
                error=error.message,
                hint=error.hint,
            )
        else:
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
            self._adopt(settings)
            names = [target.name for target in settings.targets]
            log.info("configuration read again", targets=names)
        self._notifier.ready(self._status())

    def _run_all_now(self) -> None:
        log.info("run of every target asked for")
        for name in self._jobs:
            self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    def _stop(self, why: str) -> None:
        going = [each.job.name for each in self._runs.going()]
        log.info("worker stopping", why=why, going_on=going)
        self._notifier.stopping("stopping: a run cleans up" if going else "stopping")
        self._runs.stop(grace=self._configuration.settings.worker.stop_timeout)
        if self._scheduler._thread.is_alive():
            self._scheduler.shutdown(wait=False)
        log.info("worker stopped")

    def _on_event(self, event: Any) -> None:
        """Say what APScheduler would only log; called in its threads."""
        if event.job_id == "pulse":
            return
        if event.code == events.EVENT_JOB_ERROR:
            log.error("worker failed to run a job", job=event.job_id, error=repr(event.exception))
        elif event.code == events.EVENT_JOB_MISSED:
            log.warning("run missed", job=event.job_id)
        elif event.code == events.EVENT_JOB_MAX_INSTANCES:
            log.info("run passed over, the one before has not ended", job=event.job_id)
        self._wishes.put(None)

    def _mind_the_clock(self) -> None:
        """Bring next runs back into reach after the clock was set back: a boot may begin ahead."""
        now = datetime.now(UTC)
        for scheduled in self._scheduler.get_jobs():
            job = self._jobs.get(scheduled.id)
            if job is not None and scheduled.next_run_time > job.latest(now):
                log.warning("clock was set back, next run moved", job=job.name)
                scheduled.modify(next_run_time=job.latest(now))

    def _tell(self) -> None:
        """Write down when what runs next, for the other commands, and tell systemd."""
        times = {job.id: job.next_run_time for job in self._scheduler.get_jobs()}
        going = {each.job.name: each.since for each in self._runs.going()}
        targets = {
            target: {
                "next_run": _iso(times.get(name)),
                "trigger": job.phrase(),
                "running_since": _iso(going.get(name)),
            }
            for name, job in self._jobs.items()
            for target in job.targets
        }
        if targets == self._told:
            return
        path = self._configuration.state / TIMETABLE
        record = {"pid": os.getpid(), "updated_at": _iso(datetime.now(UTC)), "targets": targets}
        try:
            state.write(path, record)
        except OSError as error:
            log.warning("timetable not written", path=str(path), error=str(error))
        self._told = targets
        self._notifier.status(self._status())

    def _status(self) -> str:
        going = [each.job.name for each in self._runs.going()]
        if going:
            return f"running: {', '.join(going)}"
        times = [
            (job.next_run_time, job.id) for job in self._scheduler.get_jobs() if job.id != "pulse"
        ]
        if not times:
            return "nothing to run"
        when, name = min(times)
        return f"next run: {name} at {when:%Y-%m-%d %H:%M:%S} UTC"

    @contextmanager
    def _signals_queued(self) -> Iterator[None]:
        """Have signals wait in the queue: a handler may interrupt anything, so it does nothing."""

        def handle(number: int, _frame: FrameType | None) -> None:
            self._wishes.put(signal.Signals(number))

        previous: dict[signal.Signals, Callable[..., Any] | int | None] = {
            number: signal.signal(number, handle) for number in SIGNALS
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


@contextmanager
def _alone(state_directory: Path) -> Iterator[None]:
    """Be the only worker with this state directory. Raises BusyError, ConfigError."""
    path = state_directory / "worker.lock"
    try:
        make_place(state_directory)
        file = path.open("a")
    except OSError as error:
        raise ConfigError(
            f"cannot use the state directory {state_directory}: {error.strerror}",
            hint="run as root, or set paths.state",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"another worker uses {state_directory}",
                hint="stop it first, or set another paths.state",
            ) from error
        yield


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.astimezone(UTC).isoformat(timespec="seconds")
