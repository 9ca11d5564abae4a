"""Bring targets up to date, and export what became of them as metrics."""

from __future__ import annotations

from pathlib import Path

from retrofit.config import Settings
from retrofit.operations.status import status_now
from retrofit.pipeline import run_once, run_targets
from retrofit.status.textfile import write_textfile

__all__ = ["run_once", "run_targets", "write_metrics"]


def write_metrics(settings: Settings, path: Path) -> None:
    """Write the metrics of all targets to a file for node_exporter. Raises ConfigError."""
    write_textfile(status_now(settings), path)
