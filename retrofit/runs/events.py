"""The events of a run, kept beside its report as one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

import structlog

log = structlog.get_logger(__name__)

FILE = "events.jsonl"
OLD_FILE = "story.jsonl"
"""The name in 0.1.0."""
LARGEST = 16 * 1024 * 1024
"""Characters; a run writes some KiB."""


class _EventLog:
    """The file that a run's events go to, and how many characters more it takes."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._left = LARGEST

    def write(self, event: structlog.typing.EventDict) -> None:
        """Write an event, as long as there is room for it and a last one. Raises OSError."""
        line = json.dumps(event, default=str) + "\n"
        if self._left <= 0:
            return
        self._left -= len(line)
        if self._left <= 0:
            line = json.dumps({"event": "too many events, the rest is not kept"}) + "\n"
        self._file.write(line)


_current: ContextVar[_EventLog | None] = ContextVar("event_log", default=None)


@contextmanager
def events_kept(log_dir: Path) -> Iterator[None]:
    """Write the events of the block into the run's directory too."""
    try:
        file = (log_dir / FILE).open("a", buffering=1)
    except OSError as error:
        log.warning("events not kept", error=str(error))
        yield
        return
    before = _current.set(_EventLog(file))
    try:
        yield
    finally:
        _current.reset(before)
        try:
            file.close()
        except OSError as error:  # what a full disk did not take is written once more here
            log.warning("events not kept to the end", error=str(error))


def keep_event(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Write an event to the file of the run that it belongs to: a processor of structlog."""
    event_log = _current.get()
    if event_log is not None:
        try:
            event_log.write(event)
        except OSError:  # a full disk ends a run by what needs the disk, not by its events
            pass
    return event


def events(log_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a run; a line that was cut short is skipped."""
    path = log_dir / FILE
    try:
        lines = (path if path.exists() else log_dir / OLD_FILE).read_text(errors="replace")
    except OSError:
        return
    for line in lines.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event
