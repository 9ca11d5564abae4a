"""Logs and progress on stderr: bars and plain text on a terminal, JSON lines everywhere else."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import structlog
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from retrofit.redaction import redact_event, redacted
from retrofit.runs.events import keep_event
from retrofit.system.escape import escaped
from retrofit.system.progress import Progress

QUIET_SECONDS = 30.0
"""Seconds between two events of progress in a log."""
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Levels as syslog(3) numbers them."""
UNSAID = frozenset({"timestamp", "level", "event", "run_id", "target", "exception"})
"""Keys of an event that a line on a terminal does not repeat as facts."""
STEPS = {
    "adopt": "recording whose the images are",
    "plan": "looking at sources and images",
    "evidence": "reading the packages of the promoted image",
    "clean-up": "cleaning up after dead runs",
    "preflight": "checking this machine",
    "fetch": "fetching the source image",
    "build": "building the image; the build's own output is in build.log",
    "verify": "verifying the image",
    "upload": "uploading the image to Glance",
    "promote": "promoting the image",
    "demote": "demoting the others",
    "retire": "deleting what retention lets go",
    "repair": "promoting an image, as Octavia finds none",
    "rollover": "moving load balancers to the promoted image",
}
"""Steps of a run, for people."""


RECORDED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    redact_event,
    keep_event,
)
"""Processors of every event, in any form: dated, freed of credentials, kept."""


def configure_logging(*, verbose: bool) -> None:
    """Send structlog's events to stderr: text to a terminal, JSON lines elsewhere."""
    # Escapes by itself whatever a terminal might obey.
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(json_line)
    shown: list[structlog.typing.Processor] = []
    if sys.stderr.isatty():
        renderer = terminal_line
        shown = [_made_visible]
    elif _is_journal():
        renderer = journal_line
    structlog.configure(
        processors=[*RECORDED, *shown, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.INFO
        ),
        logger_factory=lambda *_: _CurrentStderr(),
        cache_logger_on_first_use=False,
    )
    if not sys.warnoptions:  # libraries warn their developers, in words no operator can act on
        warnings.simplefilter("ignore")
    sys.excepthook = _report_unexpected
    threading.excepthook = lambda thrown: _report_unexpected(
        thrown.exc_type, thrown.exc_value, thrown.exc_traceback
    )
    root = logging.getLogger()
    if not any(isinstance(handler, LibraryWarnings) for handler in root.handlers):
        root.addHandler(LibraryWarnings(logging.WARNING))


def _report_unexpected(
    kind: type[BaseException], error: BaseException | None, where: TracebackType | None
) -> None:
    """Print a traceback as Python does, without the credentials that messages in it may quote."""
    text = "".join(traceback.format_exception(kind, error, where))
    sys.stderr.write(redacted(text))
    sys.stderr.flush()


_WRITING = threading.Lock()


class _CurrentStderr:
    """Writes lines to what stderr is now: a bar puts itself there while it is drawn."""

    def msg(self, message: str) -> None:
        """Write a line, whole: several threads log.

        A reader that went away, as of `run-once 2>&1 | head`, ends no run: the rest is in
        events.jsonl.
        """
        with _WRITING:
            try:
                sys.stderr.write(f"{message}\n")
                sys.stderr.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())

    log = debug = info = warn = warning = error = critical = fatal = failure = exception = msg


def _is_journal() -> bool:
    """Return True if stderr is the journal's, as systemd.exec(5) has it found out."""
    try:
        ours = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{ours.st_dev}:{ours.st_ino}"


def json_line(event: Any, **options: Any) -> str:
    """Return JSON in which names are readable, and what a terminal might obey is escaped."""
    text = json.dumps(event, ensure_ascii=False, **options)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def journal_line(logger: Any, method: str, event: structlog.typing.EventDict) -> str:
    """Return an event as JSON after its priority, which the journal takes off (sd-daemon(3))."""
    priority = PRIORITIES.get(str(event.get("level")), 6)
    line = structlog.processors.JSONRenderer(json_line)(logger, method, event)
    return f"<{priority}>{line if isinstance(line, str) else line.decode()}"


def terminal_line(_logger: Any, _method: str, event: structlog.typing.EventDict) -> str:
    """Return an event as a line for a person; events.jsonl has all of it: a processor of structlog.

    No local variables are shown with a traceback: credentials may be among them.
    """
    facts = {key: value for key, value in event.items() if key not in UNSAID}
    when = str(event.get("timestamp", ""))[11:19]
    level = str(event.get("level", "info"))
    words = str(event.get("event", ""))
    if words == "step started":
        step = str(facts.pop("step", ""))
        words = STEPS.get(step, step)
    elif words == "run ended":
        facts = {key: facts[key] for key in ("outcome", "error") if key in facts}
    told = [f"{key}={_fact(value)}" for key, value in facts.items() if value not in (None, [], ())]
    traceback = event.get("exception")
    start = [when, *([str(event["target"])] if "target" in event else [])]
    start += [level] if level not in {"info", "debug"} else []
    line = " ".join([*start, words, *told])
    return f"{line}\n{traceback}" if traceback else line


def _fact(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _made_visible(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Write out the control characters in what others named: a processor of structlog."""
    return {
        key: escaped(value if isinstance(value, str) else str(value))
        if isinstance(value, str | list | tuple | dict)
        else value
        for key, value in event.items()
    }


class LibraryWarnings(logging.Handler):
    """Warnings of libraries, as events: every line of the log has one form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record as an event."""
        structlog.get_logger(record.name).warning(
            "library warning", library=record.name, message=record.getMessage()
        )


@contextmanager
def progress_shown() -> Iterator[Progress]:
    """Yield a Progress that draws a bar on a terminal and logs elsewhere."""
    if sys.stderr.isatty():
        with _bars() as progress:
            yield progress
    else:
        yield logged_progress()


@contextmanager
def _bars() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("starting", total=None)
        shown = ""

        def progress(phrase: str, fraction: float | None) -> None:
            nonlocal shown
            if phrase != shown:
                bars.reset(task)
                shown = phrase
            total = None if fraction is None else 1.0
            bars.update(task, description=phrase, total=total, completed=fraction or 0.0)

        yield progress


def logged_progress() -> Progress:
    """Return a Progress that logs once in a while where the work is.

    A log names the steps anyway, and some thirty checks a second would fill it.
    """
    log = structlog.get_logger("retrofit.progress")
    logged = -QUIET_SECONDS

    def progress(phrase: str, fraction: float | None) -> None:
        nonlocal logged
        now = time.monotonic()
        if now - logged < QUIET_SECONDS:
            return
        logged = now
        if fraction is None:
            log.info("in progress", doing=phrase)
        else:
            log.info("in progress", doing=phrase, percent=round(fraction * 100))

    return progress
