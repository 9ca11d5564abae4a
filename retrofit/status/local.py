"""What this machine knows of a target without asking the cloud."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from retrofit import state
from retrofit.chronicle import read_chronicle
from retrofit.config import Settings
from retrofit.lock import lock_name
from retrofit.notify.outbox import Outbox
from retrofit.overview.facts import Going, LocalFacts
from retrofit.run_logs import REPORT, events, read_report, run_directories
from retrofit.times import read_time

TIMETABLE = "schedule.json"
"""Where the worker writes when it runs what."""
FLOCK = "hhqqiq"
"""struct flock of fcntl(2) where off_t has 64 bits: type, whence, start, len, pid."""


def look(settings: Settings, *, runs: int = 12) -> dict[str, LocalFacts]:
    """Read what is known of every target, of its `runs` last runs at most."""
    directories = run_directories(settings.paths.logs)
    schedule = timetable(settings)
    reports: dict[str, list[dict[str, Any]]] = {}
    unfinished: list[Path] = []
    for directory in directories:
        written = _written(directory)
        report = None if written is None else _report(directory, written)
        if written is None:
            unfinished.append(directory)
        elif report is not None and report["run_id"] == directory.name:
            reports.setdefault(report["target"], []).append(report)
    facts = {}
    for target in settings.targets:
        those = tuple(reports.get(target.name, ())[:runs])
        facts[target.name] = LocalFacts(
            going=_going(settings, target.name, unfinished, schedule),
            chronicle=read_chronicle(settings.paths.state, target.name),
            reports=those,
            schedule=schedule.get(target.name),
            files={
                report["run_id"]: log_files(settings.paths.logs / report["run_id"])
                for report in those
            },
        )
    return facts


def waiting_letters(settings: Settings) -> int:
    """Return how many changes of state have not been delivered yet."""
    return Outbox(settings.paths.state).count()


def timetable(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """Return what the worker says of when it runs what, by target; empty when none is there."""
    record = state.read(settings.paths.state / TIMETABLE) or {}
    pid, targets = record.get("pid"), record.get("targets")
    if not isinstance(pid, int) or not Path(f"/proc/{pid}").exists():
        return {}
    if not isinstance(targets, dict):
        return {}
    return {name: entry for name, entry in targets.items() if isinstance(entry, dict)}


def log_files(directory: Path) -> tuple[str, ...]:
    """List the regular files of a run's log directory."""
    try:
        with os.scandir(directory) as entries:
            return tuple(
                sorted(each.name for each in entries if each.is_file(follow_symlinks=False))
            )
    except OSError:
        return ()


def is_locked(path: Path) -> bool:
    """Say whether another process holds a file's POSIX lock, without taking it.

    Never to be called by a process that may hold such a lock itself: closing any of its
    descriptors of the file would free it (fcntl(2)).
    """
    question = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0, 0)
    try:
        with path.open("rb") as file:
            answer = fcntl.fcntl(file, fcntl.F_GETLK, question)
    except OSError:
        return False
    return bool(struct.unpack(FLOCK, answer)[0] != fcntl.F_UNLCK)


def _written(directory: Path) -> int | None:
    """Return when a run's report was written, in nanoseconds; None where there is none yet."""
    try:
        return (directory / REPORT).stat().st_mtime_ns
    except OSError:
        return None


@lru_cache(maxsize=512)
def _report(directory: Path, _written: int) -> dict[str, Any] | None:
    """Read a report once: whoever looks every few seconds finds most of them unchanged."""
    return read_report(directory)


def _going(
    settings: Settings,
    target: str,
    unfinished: list[Path],
    schedule: Mapping[str, Mapping[str, Any]],
) -> Going | None:
    """Find the run that holds the target's lock, as far as its story tells of it."""
    if not is_locked(settings.paths.state / "locks" / lock_name(target).decode()):
        return None
    for directory in unfinished:
        story = list(events(directory))
        told = [event for event in story if event.get("target") == target]
        if told:
            steps = [event for event in told if event.get("event") == "step begun"]
            return Going(
                run_id=directory.name,
                since=_begun(directory.name),
                doing=str(steps[-1].get("step")) if steps else None,
            )
    since = schedule.get(target, {}).get("running_since")
    return Going(run_id=None, since=read_time(since), doing=None)


def _begun(run_id: str) -> datetime | None:
    match = re.match(r"(\d{8}T\d{6})Z-", run_id)
    return datetime.strptime(f"{match[1]}+0000", "%Y%m%dT%H%M%S%z") if match else None
