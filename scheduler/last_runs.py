"""When each target was run last on this machine, from the reports of its runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from retrofit.config import Settings
from retrofit.run_logs import reports


def last_runs(settings: Settings) -> dict[str, datetime]:
    """Return the begin of the last run of every target that has a report, in UTC."""
    wanted = {target.name for target in settings.targets}
    found: dict[str, datetime] = {}
    for report in reports(settings.paths.logs):  # newest first
        target, begun = report.get("target"), _begun(report)
        if report.get("action", "run") == "run" and target in wanted and begun is not None:
            found.setdefault(str(target), begun)
        if len(found) == len(wanted):
            break
    return found


def _begun(report: dict[str, Any]) -> datetime | None:
    try:
        begun = datetime.fromisoformat(report["started_at"])
    except (KeyError, TypeError, ValueError):
        return None
    return begun if begun.tzinfo else begun.replace(tzinfo=UTC)
