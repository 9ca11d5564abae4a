"""The directory of logs that every run leaves: its report, and how many are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import structlog

from retrofit import state
from retrofit.errors import ConfigError
from retrofit.past_report import past_report
from retrofit.report import RunReport

log = structlog.get_logger(__name__)

REPORT = "report.json"
STORY = "story.jsonl"
RUN_IDS = "[0-9]*T[0-9]*Z-*"
"""Pattern of the names that runs give their directories."""
IDLE = frozenset({"unchanged", "paused", "waiting"})
LARGEST_STORY = 16 * 1024 * 1024
"""Characters; a run tells some KiB."""
AHEAD = timedelta(hours=1)
"""How far a clock may be set back without runs seeming to be of the future."""


class _Story:
    """The file that a run's events go to, and how many characters more it takes."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._left = LARGEST_STORY

    def tell(self, event: structlog.typing.EventDict) -> None:
        """Write an event, as long as there is room for it and a last one. Raises OSError."""
        line = json.dumps(event, default=str) + "\n"
        if self._left <= 0:
            return
        self._left -= len(line)
        if self._left <= 0:
            line = json.dumps({"event": "story too long, the rest of it is not kept"}) + "\n"
        self._file.write(line)


_story: ContextVar[_Story | None] = ContextVar("story", default=None)


@contextmanager
def story_kept(log_dir: Path) -> Iterator[None]:
    """Write the events of the block beside the run's logs too, one JSON object a line."""
    try:
        file = (log_dir / STORY).open("a", buffering=1)
    except OSError as error:
        log.warning("story not written", error=str(error))
        yield
        return
    before = _story.set(_Story(file))
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
    story = _story.get()
    if story is not None:
        try:
            story.tell(event)
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
    try:
        state.write_text(path, json.dumps(report.as_dict(), indent=2) + "\n")
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
        return past_report(json.loads((directory / REPORT).read_text()))
    except (OSError, ValueError, RecursionError):
        return None


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
    matters. As many stay of what was verified by hand. Reports that somebody died over go as well.
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
    by_hand = sorted(logs.glob(f"verify-{RUN_IDS}"), reverse=True)
    for directory in idle + busy[keep:] + by_hand[keep:]:
        shutil.rmtree(directory, ignore_errors=True)
    for directory in busy[:keep]:
        state.sweep(directory)


def _target_of_idle(directory: Path) -> str | None:
    """Return the target of a run that found nothing to do; None for one that did something."""
    report = read_report(directory)
    return report["target"] if report is not None and report["outcome"] in IDLE else None


def run_directories(logs: Path) -> list[Path]:
    """List the directories of runs, newest first: names of another form are not ours to touch.

    What was named by a clock that was ahead comes last: it began before what has begun since.
    """
    soon = f"{datetime.now(UTC) + AHEAD:%Y%m%dT%H%M%SZ}"
    found = logs.glob(RUN_IDS) if logs.is_dir() else ()
    return sorted(found, key=lambda path: (path.name < soon, path.name), reverse=True)
