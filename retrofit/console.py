"""stderr is the story: bars and plain text on a terminal, JSON lines everywhere else."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from retrofit.progress import Progress
from retrofit.redaction import redact_event
from retrofit.run_logs import keep_story
from retrofit.visible import visible

QUIET_SECONDS = 30.0
"""How long a log hears nothing of progress after it has heard of some."""


RECORDED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    redact_event,
    keep_story,
)
"""What happens to every event, whoever is shown it: dated, freed of credentials, kept."""


def configure_logging(*, verbose: bool) -> None:
    """Send structlog's events to stderr in the form that fits who reads it."""
    # Escapes by itself whatever a terminal might obey.
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    shown: list[structlog.typing.Processor] = []
    if sys.stderr.isatty():
        # Not the default: that one prints local variables, credentials among them.
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        shown = [_made_visible]
    structlog.configure(
        processors=[*RECORDED, *shown, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, LibraryWarnings) for handler in root.handlers):
        root.addHandler(LibraryWarnings(logging.WARNING))


def _made_visible(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Write out the control characters in what others named: a processor of structlog."""
    return {
        key: visible(value if isinstance(value, str) else str(value))
        if isinstance(value, str | list | tuple | dict)
        else value
        for key, value in event.items()
    }


class LibraryWarnings(logging.Handler):
    """What libraries warn of, as events like any other: every line of the story has one form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record in our way."""
        structlog.get_logger(record.name).warning(
            "library warns", library=record.name, said=record.getMessage()
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

    A log names the steps anyway: of some thirty checks a second it wants to know nothing.
    """
    log = structlog.get_logger("retrofit.progress")
    told = -QUIET_SECONDS

    def progress(phrase: str, fraction: float | None) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < QUIET_SECONDS:
            return
        told = now
        if fraction is None:
            log.info("in progress", doing=phrase)
        else:
            log.info("in progress", doing=phrase, percent=round(fraction * 100))

    return progress
