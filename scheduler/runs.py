"""The runs that the worker has going on: each is a process of its own.

A run in a thread could not be stopped (signals reach the main thread alone), would keep what its
libraries leak for as long as the worker lives, and could take the worker down with it. A process
gets TERM and unmounts, starts from nothing, and is `retrofit run-once` as anybody would run it.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from retrofit import process
from retrofit.errors import BusyError
from scheduler.jobs import Job

log = structlog.get_logger(__name__)

# Whatever ends the worker, kill -9 included, the run hears of it and cleans up after itself.
TIED = ("setpriv", "--pdeathsig", "TERM", "--")
RUN = (sys.executable, "-m", "retrofit")


@dataclass(frozen=True, kw_only=True)
class Going:
    """A run that is going on."""

    job: Job
    child: process.Child
    since: datetime


class Runs:
    """Starts runs and stops them, from several threads."""

    def __init__(self, command: Sequence[str] = RUN) -> None:
        self._command = tuple(command)
        self._mutex = threading.Lock()
        self._going: dict[str, Going] = {}
        self._stopping = False

    def going(self) -> list[Going]:
        """List what is going on."""
        with self._mutex:
            return list(self._going.values())

    def run(self, job: Job, config: Path) -> None:
        """Run a job to its end, and say how it went; its failure is no failure of ours."""
        if self._stopping:
            return
        which = ("--target", ",".join(job.targets))
        argv: list[str | Path] = [
            *TIED,
            *self._command,
            "--config",
            config,
            "run-once",
            *which,
            "--output",
            "json",
        ]
        try:
            answer = process.run_answering(
                argv, timeout=job.time_limit, on_start=lambda child: self._begin(job, child)
            )
        except process.CommandError as error:
            # An operator's matter: no traceback.
            log.error("run did not end by itself", job=job.name, error=error.message)  # noqa: TRY400
            return
        finally:
            with self._mutex:
                self._going.pop(job.name, None)
        outcomes = _outcomes(answer.stdout)
        fine = answer.returncode in {0, BusyError.exit_code} or self._stopping
        tell = log.info if fine else log.error
        tell("run-once ended", job=job.name, exit_code=answer.returncode, outcomes=outcomes)

    def stop(self, *, grace: float) -> None:
        """Begin no run any more, and end those that go on: TERM, `grace` seconds, KILL."""
        with self._mutex:
            self._stopping = True
            going = list(self._going.values())
        stops = [
            threading.Thread(target=process.stop, args=(each.child,), kwargs={"grace": grace})
            for each in going
        ]
        for stop in stops:
            stop.start()
        for stop in stops:
            stop.join()

    def _begin(self, job: Job, child: process.Child) -> None:
        with self._mutex:
            self._going[job.name] = Going(job=job, child=child, since=datetime.now(UTC))
            late = self._stopping
        log.info("run-once started", job=job.name, pid=child.pid)
        if late:
            process.stop(child)


def _outcomes(answer: str) -> dict[str, Any]:
    """Read how each target fared from the answer of run-once, which may have died without one."""
    try:
        document = json.loads(answer)
        reports = document.get("runs", [document])
        return {report["target"]: report["outcome"] for report in reports}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
