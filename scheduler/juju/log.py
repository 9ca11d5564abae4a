"""What a run tells of itself, line by line to whoever waits for a Juju action."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from retrofit.progress import Progress
from retrofit.terminal import RECORDED, logged_progress
from scheduler import juju

HIDDEN = frozenset({"event", "level", "timestamp", "run_id", "target", "exception"})


@contextmanager
def story_to_juju() -> Iterator[None]:
    """Have structlog's events of the block told to Juju, beside the story that each run keeps."""
    before = structlog.get_config()
    structlog.configure(
        processors=[*RECORDED, line_for_people],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Teller,
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def progress_logged() -> Iterator[Progress]:
    """Yield a Progress that tells each new phrase."""
    yield logged_progress()


def line_for_people(_logger: Any, _method: str, event: structlog.typing.EventDict) -> str:
    """Say an event in one line: a processor of structlog, the last one."""
    if "exception" in event:  # many lines, and a bug: Juju keeps stderr with the results
        sys.stderr.write(f"{event['exception']}\n")
    told = {key: value for key, value in event.items() if key not in HIDDEN and value}
    if event["event"] == "in progress":
        percent = f", {told['percent']} %" if told.get("percent") else ""
        return f"{told.get('doing', '')}{percent}"
    facts = " ".join(f"{key}={_value(value)}" for key, value in told.items())
    level = event.get("level", "info")
    head = event["event"] if level in {"info", "debug"} else f"{level}: {event['event']}"
    return f"{head}: {facts}" if facts else str(head)


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else repr(value)


class _Teller:
    """A logger to structlog: one call, one line."""

    def __init__(self, *_name: Any) -> None:
        self._deaf = False

    def msg(self, line: str) -> None:
        """Tell a line. A Juju that does not hear it ends no run."""
        if self._deaf:
            return
        try:
            juju.log(line)
        except juju.NoActionError as error:
            self._deaf = True
            sys.stderr.write(f"{error.message}\n")

    debug = info = warning = error = critical = exception = msg
