"""What this machine knows of its targets without asking the cloud."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from retrofit.config import Settings
from retrofit.notify.outbox import Outbox
from retrofit.runs.directory import REPORT, read_report, run_directories
from retrofit.runs.history import read_history
from retrofit.runs.report_document import ReportDocument
from retrofit.runs.rollover import read_rollover
from retrofit.runs.running import running_run
from retrofit.runs.timetable import TimetableEntry, read_timetable
from retrofit.status.facts import LocalFacts
from retrofit.status.models import RunningDocument


def look(settings: Settings, *, runs: int = 12) -> dict[str, LocalFacts]:
    """Read what is known of every target, and of what was last done with it.

    That are `runs` reports at most, and the last run and the last conclusive one where they are
    older: however much was done by commands since, the target's state is by them.
    """
    directories = run_directories(settings.paths.logs)
    timetable = read_timetable(settings.paths.state)
    schedule = {} if timetable is None else timetable.targets
    reports: dict[str, list[ReportDocument]] = {}
    unfinished: list[Path] = []
    for directory in directories:
        written = _written(directory)
        report = None if written is None else _report(directory, written)
        if written is None:
            unfinished.append(directory)
        elif report is not None and report.run_id == directory.name:
            reports.setdefault(report.target, []).append(report)
    facts = {}
    for target in settings.targets:
        those = _last(reports.get(target.name, []), runs)
        facts[target.name] = LocalFacts(
            running=_running(settings, target.name, unfinished, schedule),
            history=read_history(settings.paths.state, target.name),
            reports=those,
            schedule=schedule.get(target.name),
            rollover=read_rollover(settings.paths.state, target.name),
            files={
                report.run_id: log_files(settings.paths.logs / report.run_id) for report in those
            },
        )
    return facts


def _last(reports: list[ReportDocument], number: int) -> tuple[ReportDocument, ...]:
    """Return the newest reports, and the newest of a run and of a conclusive one."""
    last_run = next((each for each in reports if each.is_run), None)
    conclusive = next((each for each in reports if each.is_conclusive), None)
    return tuple(
        report
        for index, report in enumerate(reports)
        if index < number or report is last_run or report is conclusive
    )


def undelivered(settings: Settings) -> int:
    """Return how many notifications are queued, and not delivered yet."""
    return Outbox(settings.paths.state).count()


def log_files(directory: Path) -> tuple[str, ...]:
    """List the regular files of a run's log directory."""
    try:
        with os.scandir(directory) as entries:
            return tuple(
                sorted(each.name for each in entries if each.is_file(follow_symlinks=False))
            )
    except OSError:
        return ()


def _written(directory: Path) -> int | None:
    """Return when a run's report was written, in nanoseconds; None where there is none yet."""
    try:
        return (directory / REPORT).stat().st_mtime_ns
    except OSError:
        return None


@lru_cache(maxsize=512)
def _report(directory: Path, _written: int) -> ReportDocument | None:
    """Read a report once: the page looks every few seconds, and finds most of them unchanged."""
    return read_report(directory)


def _running(
    settings: Settings,
    target: str,
    unfinished: Iterable[Path],
    schedule: Mapping[str, TimetableEntry],
) -> RunningDocument | None:
    """Find the run that holds the target's lock, as far as its events show it."""
    found = running_run(settings.paths.state, settings.paths.logs, target, unfinished)
    if found is None:
        return None
    entry = schedule.get(target)
    since = None if entry is None else entry.running_since
    return RunningDocument(
        run_id=found.run_id,
        pid=found.pid,
        since=found.since if found.run_id else since,
        doing=found.doing,
    )
