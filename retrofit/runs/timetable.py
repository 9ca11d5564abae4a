"""When the worker runs what: written by the worker, read by status, page and metrics."""

from __future__ import annotations

import fcntl
from pathlib import Path

from pydantic import Field, ValidationError

from retrofit.documents import Count, Time, TolerantDocument
from retrofit.runs import store

FILE = "schedule.json"
WORKER_LOCK = "worker.lock"
"""Held by the one worker of a state directory (scheduler/only_worker.py)."""


class TimetableEntry(TolerantDocument):
    """One target: its next run, how that is determined (for people), and the run in progress."""

    next_run: Time | None = None
    trigger: str | None = None
    running_since: Time | None = None


class Timetable(TolerantDocument):
    """All targets of one worker, by their names; `pid` is the worker's process."""

    pid: Count
    updated_at: Time | None = None
    targets: dict[str, TimetableEntry] = Field(default_factory=dict)


def read_timetable(state_dir: Path) -> Timetable | None:
    """Read the timetable of the worker; None where none runs, and for a damaged record."""
    record = store.read(state_dir / FILE)
    try:
        timetable = None if record is None else Timetable.model_validate(record)
    except ValidationError:
        return None
    return timetable if timetable is not None and worker_is_alive(state_dir) else None


def worker_is_alive(state_dir: Path) -> bool:
    """Return True while a worker uses this state directory: it holds a lock as long as it lives.

    Its process number says little: in a container a worker is always 1, and so is its successor, or
    whatever else runs there.
    """
    try:
        with (state_dir / WORKER_LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def write_timetable(state_dir: Path, timetable: Timetable) -> None:
    """Replace the timetable. Raises OSError."""
    store.write(state_dir / FILE, timetable.as_dict())


def remove_timetable(state_dir: Path) -> None:
    """Remove the timetable, if there is one. Raises OSError."""
    store.remove(state_dir / FILE)
