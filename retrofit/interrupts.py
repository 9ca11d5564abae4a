"""Ctrl-C and `systemctl stop` end a run the same way: through every cleanup, once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

log = structlog.get_logger(__name__)

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first stopping signal into KeyboardInterrupt, and ignore all that follow.

    KeyboardInterrupt passes every `except Exception` of the libraries in between; a second one
    would break the cleanup that the first one started.
    """
    stopping = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        name = signal.Signals(number).name
        if stopping:
            log.warning("already stopping, cleaning up first", signal=name)
            return
        stopping = True
        log.warning("stopping", signal=name)
        raise KeyboardInterrupt(name)

    previous = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
