"""The events of a run as progress messages of a Juju action."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from retrofit.console import RECORDED, logged_progress
from retrofit.system.progress import Progress
from scheduler.juju import tools

HIDDEN = frozenset({"event", "level", "timestamp", "run_id", "target", "exception"})


@contextmanager
def events_to_juju() -> Iterator[None]:
    """Send structlog's events of the block to Juju; each run keeps its own as well."""
    before = structlog.get_config()
    structlog.configure(
        processors=[*RECORDED, line_for_people],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_JujuLogger,
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def progress_logged() -> Iterator[Progress]:
    """Yield a Progress that logs now and then."""
    yield logged_progress()


def line_for_people(_logger: Any, _method: str, event: structlog.typing.EventDict) -> str:
    """Return an event as one line: the last processor of structlog."""
    if "exception" in event:  # many lines, of an internal error: Juju keeps stderr with the results
        sys.stderr.write(f"{event['exception']}\n")
    shown = {key: value for key, value in event.items() if key not in HIDDEN and value}
    if event["event"] == "in progress":
        percent = f", {shown['percent']} %" if shown.get("percent") else ""
        return f"{shown.get('doing', '')}{percent}"
    facts = " ".join(f"{key}={_value(value)}" for key, value in shown.items())
    level = event.get("level", "info")
    head = event["event"] if level in {"info", "debug"} else f"{level}: {event['event']}"
    return f"{head}: {facts}" if facts else str(head)


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else repr(value)


class _JujuLogger:
    """A logger to structlog: one call, one line."""

    def __init__(self, *_name: Any) -> None:
        self._failed = False

    def msg(self, line: str) -> None:
        """Send a line to Juju. A failure of that ends no run."""
        if self._failed:
            return
        try:
            tools.log(line)
        except tools.NoActionError as error:
            self._failed = True
            sys.stderr.write(f"{error.message}\n")

    debug = info = warning = error = critical = exception = msg
