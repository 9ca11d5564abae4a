"""The worker's runs: each is a process of its own.

A run in a thread could not be stopped (signals reach the main thread alone), would keep what its
libraries leak as long as the worker lives, and could take the worker down with it. A process gets
TERM and unmounts, starts from nothing, and is `retrofit run-once` as an operator would run it.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from retrofit.errors import LockedError
from retrofit.system import process
from retrofit.system.tied import tied
from scheduler.jobs import ScheduledJob

log = structlog.get_logger(__name__)

ROLLOVER_LIMIT = 24 * 3600.0
"""Seconds after which a rollover is stopped; the next one goes on where it was."""
ROLLOVERS = "all rollovers"
"""Their name among the running jobs, and for the scheduler: a target's name has no blank."""
RUN = (sys.executable, "-m", "retrofit")


@dataclass(frozen=True, kw_only=True)
class RunningJob:
    """A job and its process; `name` is the job's, or that of a repair of one target."""

    name: str
    job: ScheduledJob
    child: process.Child
    since: datetime


class Runs:
    """Starts runs and stops them, from several threads."""

    def __init__(self, command: Sequence[str] = RUN) -> None:
        self._command = tuple(command)
        self._mutex = threading.Lock()
        self._running: dict[str, RunningJob] = {}
        self._stopping = False

    def running(self) -> list[RunningJob]:
        """List the running jobs."""
        with self._mutex:
            return list(self._running.values())

    def run(self, job: ScheduledJob, config: Path) -> None:
        """Run a job to its end, and log its outcome; its failure is no failure of the worker."""
        self._run("run-once", job.name, job, config)

    def repair(self, job: ScheduledJob, target: str, config: Path) -> Mapping[str, str]:
        """Promote an image of a target where Octavia finds none, beside its runs.

        Return the outcome by target, nothing where it did not end.
        """
        only = replace(job, targets=(target,))
        return self._run("repair", f"repair of {target}", only, config)

    def roll_over(self, job: ScheduledJob, config: Path) -> Mapping[str, str]:
        """Move load balancers of a job's targets, beside its runs. Return the outcome by target."""
        return self._run(
            "rollover",
            ROLLOVERS,
            job,
            config,
            options=("--yes", "--if-enabled"),
            time_limit=ROLLOVER_LIMIT,
        )

    def _run(
        self,
        command: str,
        name: str,
        job: ScheduledJob,
        config: Path,
        *,
        options: Sequence[str] = (),
        time_limit: float | None = None,
    ) -> Mapping[str, str]:
        if self._stopping:
            return {}
        # Whatever ends the worker, the run gets a TERM and cleans up.
        argv = tied(
            *self._command,
            "--config",
            config,
            command,
            *options,
            "--target",
            ",".join(job.targets),
            "--output",
            "json",
            by="TERM",
        )

        def begin(child: process.Child) -> None:
            self._begin(command, name, job, child)

        try:
            answer = process.run_with_our_stderr(
                argv, timeout=time_limit or job.time_limit, on_start=begin
            )
        except process.CommandError as error:
            # An operator's matter: no traceback.
            log.error(f"{command} was stopped", job=job.name, error=error.message)  # noqa: TRY400
            return {}
        finally:
            with self._mutex:
                self._running.pop(name, None)
        outcomes = _outcomes(answer.stdout)
        fine = answer.returncode in {0, LockedError.exit_code} or self._stopping
        level = log.info if fine else log.error
        level(f"{command} ended", job=job.name, exit_code=answer.returncode, outcomes=outcomes)
        return outcomes

    def stop(self, *, grace: float) -> None:
        """Start no further run, and stop the running ones: TERM, `grace` seconds, KILL."""
        with self._mutex:
            self._stopping = True
            running = list(self._running.values())
        stops = [
            threading.Thread(target=process.stop, args=(each.child,), kwargs={"grace": grace})
            for each in running
        ]
        for stop in stops:
            stop.start()
        for stop in stops:
            stop.join()

    def _begin(self, command: str, name: str, job: ScheduledJob, child: process.Child) -> None:
        with self._mutex:
            self._running[name] = RunningJob(
                name=name, job=job, child=child, since=datetime.now(UTC)
            )
            late = self._stopping
        log.info(f"{command} started", job=job.name, pid=child.pid)
        if late:
            process.stop(child)


def _outcomes(answer: str) -> dict[str, Any]:
    """Return the outcome of each target from the answer of run-once, empty without an answer."""
    try:
        reports = json.loads(answer)["targets"]
        return {report["target"]: report["outcome"] for report in reports}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
