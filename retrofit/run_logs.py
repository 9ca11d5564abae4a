"""The directory of logs that every run leaves: its report, and how many are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

import structlog

from retrofit.errors import ConfigError
from retrofit.report import RunReport

log = structlog.get_logger(__name__)

REPORT = "report.json"
STORY = "story.jsonl"
IDLE = frozenset({"unchanged", "paused", "waiting"})
_story: ContextVar[TextIO | None] = ContextVar("story", default=None)


@contextmanager
def story_kept(log_dir: Path) -> Iterator[None]:
    """Write the events of the block beside the run's logs too, one JSON object a line."""
    try:
        file = (log_dir / STORY).open("a", buffering=1)
    except OSError as error:
        log.warning("story not written", error=str(error))
        yield
        return
    before = _story.set(file)
    try:
        yield
    finally:
        _story.reset(before)
        try:
            file.close()
        except OSError as error:  # what a full disk did not take is written once more here
            log.warning("story not written to its end", error=str(error))


def keep_story(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Write an event into the story of the run that it belongs to: a processor of structlog."""
    file = _story.get()
    if file is not None:
        try:
            file.write(json.dumps(event, default=str) + "\n")
        except OSError:  # a full disk ends a run by what needs the disk, not by its story
            pass
    return event


def events(log_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a run's story; a line that was cut short is passed over."""
    try:
        lines = (log_dir / STORY).read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


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
    for directory in run_directories(logs):
        report = read_report(directory)
        if report is not None:
            yield report


def read_report(directory: Path) -> dict[str, Any] | None:
    """Read the report of a run; None while it runs, or when nobody can read it."""
    try:
        report = json.loads((directory / REPORT).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None


def find_run(logs: Path, name: str) -> Path:
    """Return the log directory of a run: by its id, the beginning of one, or `last`.

    Raises ConfigError for no such run, or several.
    """
    found = [run for run in run_directories(logs) if name == "last" or run.name.startswith(name)]
    exact = [run for run in found if run.name == name]
    if exact or (found and name == "last"):
        return (exact or found)[0]
    if len(found) > 1:
        raise ConfigError(
            f"several runs begin with {name}: {', '.join(run.name for run in found)}",
            hint="say more of its id",
        )
    if not found:
        raise ConfigError(
            f"there are no logs of run {name} in {logs}",
            hint="`retrofit history` lists the runs whose logs are kept on this machine",
        )
    return found[0]


def prune(logs: Path, *, keep: int) -> None:
    """Delete old runs' directories: all but `keep` of those that did something.

    Of runs that found nothing to do only each target's last stays: they would push out what
    matters.
    """
    busy: list[Path] = []
    idle: list[Path] = []
    idle_targets: set[str] = set()
    for directory in run_directories(logs):
        target = _target_of_idle(directory)
        if target is None:
            busy.append(directory)
        elif target in idle_targets:
            idle.append(directory)
        else:
            idle_targets.add(target)
    for directory in idle + busy[keep:]:
        shutil.rmtree(directory, ignore_errors=True)


def _target_of_idle(directory: Path) -> str | None:
    """Return the target of a run that found nothing to do; None for one that did something."""
    try:
        report = json.loads((directory / REPORT).read_text())
        idle = report["outcome"] in IDLE
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return str(report.get("target")) if idle else None


def run_directories(logs: Path) -> list[Path]:
    """List the directories of runs, newest first: names of another form are not ours to touch."""
    return sorted(logs.glob("[0-9]*T[0-9]*Z-*"), reverse=True) if logs.is_dir() else []
