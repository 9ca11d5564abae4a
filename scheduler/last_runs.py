"""When each target ran last on this machine, from the reports of its runs."""

from __future__ import annotations

from datetime import datetime

from retrofit.config import Settings
from retrofit.errors import InterruptedRunError
from retrofit.runs.directory import read_report, run_directories
from retrofit.runs.report_document import ReportDocument


def last_runs(settings: Settings) -> dict[str, datetime]:
    """Return the start of each target's last run, in UTC, where it came to its end.

    A run that was interrupted, or that died without a report, counts as missed. The target of a
    dead run is unknown: it may have been any.
    """
    wanted = {target.name for target in settings.targets}
    found: dict[str, datetime | None] = {}
    for directory in run_directories(settings.paths.logs):  # newest first
        report = read_report(directory)
        if report is None or len(found) == len(wanted):
            break
        if report.target in wanted and report.is_run:
            found.setdefault(report.target, _started(report))
    return {target: started for target, started in found.items() if started is not None}


def _started(report: ReportDocument) -> datetime | None:
    interrupted = report.error is not None and report.error.code == InterruptedRunError.code
    return None if interrupted else report.started_at
