"""The directory of logs that every run leaves: its report, and how many are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog

from retrofit.report import RunReport

log = structlog.get_logger(__name__)

REPORT = "report.json"


def write_report(report: RunReport) -> None:
    """Leave the report beside the run's logs; failing to is logged, as it changes no outcome."""
    path = report.log_dir / REPORT
    partial = path.with_suffix(".partial")
    try:
        report.log_dir.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(report.as_dict(), indent=2) + "\n")
        partial.replace(path)
    except OSError as error:
        log.warning("report not written", path=str(path), error=str(error))


def reports(logs: Path) -> Iterator[dict[str, Any]]:
    """Yield the reports of past runs, newest first; what cannot be read is passed over."""
    for directory in sorted(_runs(logs), reverse=True):
        try:
            report = json.loads((directory / REPORT).read_text())
        except (OSError, ValueError):
            continue
        if isinstance(report, dict):
            yield report


def prune(logs: Path, *, keep: int) -> None:
    """Delete old runs' directories: all but `keep` of those that did something.

    Of runs that found nothing to do only the last one stays: they would push out what matters.
    """
    idle: list[Path] = []
    busy: list[Path] = []
    for directory in sorted(_runs(logs), reverse=True):
        (idle if _found_nothing_to_do(directory) else busy).append(directory)
    for directory in idle[1:] + busy[keep:]:
        shutil.rmtree(directory, ignore_errors=True)


def _found_nothing_to_do(directory: Path) -> bool:
    try:
        return bool(json.loads((directory / REPORT).read_text())["outcome"] == "unchanged")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _runs(logs: Path) -> list[Path]:
    """List directories whose name has the form of a run id: others are not ours to touch."""
    return list(logs.glob("[0-9]*T[0-9]*Z-*")) if logs.is_dir() else []
