"""The directory that every run leaves in `paths.logs`: its report, and how many are kept."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import structlog

from retrofit.errors import ConfigError
from retrofit.runs import events, store
from retrofit.runs.report import RunReport
from retrofit.runs.report_document import ReportDocument
from retrofit.system.own_directory import RUN_ID

log = structlog.get_logger(__name__)

REPORT = "report.json"
RUNS = re.compile(RUN_ID)
VERIFICATIONS = re.compile(f"verify-{RUN_ID}")
"""Names of the directories of runs, and of verifications by hand."""
CONTENTS = (REPORT, events.FILE, events.OLD_FILE, "build.log", "checks.json")
"""One of these is in the directory of every run that came to anything."""
IDLE = frozenset({"unchanged", "paused", "backoff"})
"""Outcomes of runs that found nothing to do."""
REPEATED = frozenset({"repair", "rollover"})
"""What a worker or a timer tries again within minutes where it failed."""
AHEAD = timedelta(hours=1)
"""How far a clock may be set back without runs seeming to be of the future."""


def write_report(report: RunReport) -> None:
    """Write the report of a run; a failure is logged only, as it changes no outcome."""
    path = report.log_dir / REPORT
    try:
        store.write_text(path, json.dumps(report.document().as_dict(), indent=2) + "\n")
    except OSError as error:
        log.warning("report not written", path=str(path), error=str(error))


def reports(logs: Path) -> Iterator[ReportDocument]:
    """Yield the reports of past runs, newest first; a damaged one is skipped."""
    for directory in run_directories(logs):
        report = read_report(directory)
        if report is not None:
            yield report


def target_of(directory: Path) -> str | None:
    """Return the target of a run, by its report or its events; None where neither has it."""
    report = read_report(directory)
    if report is not None:
        return report.target
    named = (event.get("target") for event in events.events(directory))
    return next((str(target) for target in named if target), None)


def read_report(directory: Path) -> ReportDocument | None:
    """Read the report of a run; None while it runs, or for a damaged one."""
    return ReportDocument.read(directory / REPORT)


def find_run(logs: Path, name: str, targets: Collection[str] | None = None) -> Path:
    """Return the log directory of a run: by its id, the beginning of one, or `last`.

    `targets` are those that it may be of (None: any). Raises ConfigError for no such run, or
    several.
    """
    found = [run for run in run_directories(logs) if name == "last" or run.name.startswith(name)]
    if targets is not None:
        those = (run for run in found if target_of(run) in targets)
        found = list(islice(those, 1) if name == "last" else those)
    exact = [run for run in found if run.name == name]
    if exact or (found and name == "last"):
        return (exact or found)[0]
    if len(found) > 1:
        raise ConfigError(
            f"several runs begin with {name}: {', '.join(run.name for run in found)}",
            hint="give more of its id: `retrofit history` shows them",
        )
    if not found:
        raise ConfigError(
            f"there are no logs of run {name} in {logs}",
            hint="`retrofit history` lists the runs whose logs are kept on this machine",
        )
    return found[0]


def prune(logs: Path, *, keep: int) -> None:
    """Delete old runs' directories: all but `keep` of the runs that did something.

    Of those that did nothing only the last of each target and action stays: they would push out
    what matters. As many stay of verifications by hand. Reports half written by a dead run go as
    well.
    """
    worked: list[Path] = []
    idle: list[Path] = []
    kept: set[tuple[str, str]] = set()
    for directory in run_directories(logs):
        report = read_report(directory)
        if report is None or not _is_idle(report):
            worked.append(directory)
        elif (report.target, report.action) in kept:
            idle.append(directory)
        else:
            kept.add((report.target, report.action))
    by_hand = sorted(_directories(logs, VERIFICATIONS), reverse=True)
    for directory in idle + worked[keep:] + by_hand[keep:]:
        shutil.rmtree(directory, ignore_errors=True)
    for directory in worked[:keep]:
        store.remove_partial(directory)


def _is_idle(report: ReportDocument) -> bool:
    """Return True if a run found nothing to do, or what is repeated failed without any change.

    All else that was done by a command is kept, whatever came of it.
    """
    if report.is_run:
        return report.outcome in IDLE
    changed = report.load_balancers or report.halted or report.promoted or report.demoted
    return report.action in REPEATED and report.outcome == "failed" and not changed


def run_directories(logs: Path) -> list[Path]:
    """List the directories of runs, newest first; anything else is not ours to touch.

    A run named by a clock that was ahead comes last: it began before those that began since.
    """
    soon = f"{datetime.now(UTC) + AHEAD:%Y%m%dT%H%M%SZ}"
    return sorted(
        _directories(logs, RUNS), key=lambda path: (path.name < soon, path.name), reverse=True
    )


def _directories(logs: Path, names: re.Pattern[str]) -> list[Path]:
    """Return the directories of runs: by name and content."""
    if not logs.is_dir():
        return []
    return [
        path
        for path in logs.iterdir()
        if names.fullmatch(path.name)
        and path.is_dir()
        and not path.is_symlink()
        and _is_of_a_run(path)
    ]


def _is_of_a_run(directory: Path) -> bool:
    """Return True for a directory with a file of a run, or with nothing but its beginnings."""
    names = [entry.name for entry in directory.iterdir()]
    return not set(CONTENTS).isdisjoint(names) or all(store.is_partial(name) for name in names)
