"""Which run of a target goes on on this machine: by the lock that it holds, and by its events."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from retrofit.lock.names import old_name
from retrofit.runs.directory import REPORT, run_directories
from retrofit.runs.events import events

STEP_STARTED = frozenset({"step started", "step begun"})
"""The event of today, and that of 0.1.0."""
FLOCK = "hhqqiq"
"""struct flock of fcntl(2) where off_t has 64 bits: type, whence, start, len, pid."""


@dataclass(frozen=True, kw_only=True)
class RunningRun:
    """A run in progress: its process, and what its events tell of it."""

    pid: int
    run_id: str | None = None
    since: datetime | None = None
    doing: str | None = None

    def phrase(self) -> str:
        """Return it as part of a sentence."""
        name = f"run {self.run_id}" if self.run_id else "a run"
        since = f", since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        doing = f", now at the step {self.doing}" if self.doing else ""
        return f"{name} (process {self.pid}{since}{doing})"


def lock_file(state_dir: Path, target: str) -> Path:
    """Return the file whose lock a run of a target holds."""
    return state_dir / "locks" / old_name(target).decode()


def holder(path: Path) -> int | None:
    """Return the process that holds a file's POSIX lock, without taking it; None for none.

    Never to be called by a process that may hold such a lock itself: closing any of its
    descriptors of the file would free it (fcntl(2)).
    """
    question = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0, 0)
    try:
        with path.open("rb") as file:
            kind, _, _, _, pid, _ = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, question))
    except OSError:
        return None
    return int(pid) if kind != fcntl.F_UNLCK else None


def running_run(
    state_dir: Path, logs: Path, target: str, unfinished: Iterable[Path] | None = None
) -> RunningRun | None:
    """Return the run that holds a target's lock on this machine; None where none does.

    `unfinished` are the directories of runs without a report (None: they are looked for). A
    rollover, or what a person does, holds another lock: it goes on beside the run.
    """
    pid = holder(lock_file(state_dir, target))
    if pid is None:
        return None
    if unfinished is None:
        unfinished = [each for each in run_directories(logs) if not (each / REPORT).exists()]
    for directory in unfinished:
        ours = [event for event in events(directory) if event.get("target") == target]
        if ours and ours[0].get("action", "run") == "run":
            steps = [event for event in ours if event.get("event") in STEP_STARTED]
            return RunningRun(
                pid=pid,
                run_id=directory.name,
                since=_started(directory.name),
                doing=str(steps[-1].get("step")) if steps else None,
            )
    return RunningRun(pid=pid)


def _started(run_id: str) -> datetime | None:
    match = re.match(r"(\d{8}T\d{6})Z-", run_id)
    return datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) if match else None
