"""Read what past runs left on this machine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from retrofit.config import Settings, Target
from retrofit.errors import ConfigError
from retrofit.runs.directory import find_run, read_report, reports, run_directories
from retrofit.runs.events import events
from retrofit.runs.report_document import ReportDocument


@dataclass(frozen=True, kw_only=True)
class RunLogs:
    """The log directory of one run: its report, its events, and the size of each file in bytes.

    `report` is None while the run goes on, and where it cannot be read.
    """

    directory: Path
    report: ReportDocument | None
    events: tuple[Mapping[str, Any], ...]
    files: Mapping[str, int]


def past_reports(
    targets: Iterable[Target], settings: Settings, *, number: int
) -> list[ReportDocument]:
    """Return the last `number` reports of some targets, newest first."""
    names = {target.name for target in targets}
    kept = (report for report in reports(settings.paths.logs) if report.target in names)
    return list(islice(kept, number))


def run_ids(settings: Settings) -> list[str]:
    """Return the ids of the runs whose logs are kept, newest first."""
    return [directory.name for directory in run_directories(settings.paths.logs)]


def run_logs(settings: Settings, run: str, targets: Collection[str] | None = None) -> RunLogs:
    """Read what a run left: by its id, the beginning of one, or `last`, of these targets.

    Raises ConfigError.
    """
    return read_logs(find_run(settings.paths.logs, run, targets))


def read_logs(directory: Path) -> RunLogs:
    """Read what a run left in its log directory."""
    return RunLogs(
        directory=directory,
        report=read_report(directory),
        events=tuple(events(directory)),
        files={path.name: path.stat().st_size for path in sorted(directory.iterdir())},
    )


def log_lines(
    settings: Settings, run: str, name: str, targets: Collection[str] | None = None
) -> Iterator[str]:
    """Yield the lines of one file of a run's logs. Raises as `run_logs`."""
    path = find_run(settings.paths.logs, run, targets) / Path(name).name
    try:
        with path.open(errors="replace") as file:
            yield from file
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", hint=f"`retrofit logs {run}` lists the files"
        ) from error
