"""When each target was run last on this machine, from the reports of its runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from retrofit.config import Settings
from retrofit.errors import InterruptedRunError
from retrofit.run_logs import read_report, run_directories
from retrofit.times import read_time


def last_runs(settings: Settings) -> dict[str, datetime]:
    """Return the begin of each target's last run, in UTC, where there was one that came to its end.

    A run that was interrupted, or that died and left no report, is one that was missed. Whose it
    was a dead one does not say: it may have been any target's.
    """
    wanted = {target.name for target in settings.targets}
    found: dict[str, datetime | None] = {}
    for directory in run_directories(settings.paths.logs):  # newest first
        report = read_report(directory)
        if report is None or len(found) == len(wanted):
            break
        target = report["target"]
        if target in wanted and report["action"] == "run":
            found.setdefault(target, _begun(report))
    return {target: begun for target, begun in found.items() if begun is not None}


def _begun(report: dict[str, Any]) -> datetime | None:
    error = report["error"]
    if error is not None and error["code"] == InterruptedRunError.code:
        return None
    return read_time(report["started_at"])
