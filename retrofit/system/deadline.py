"""A limit on how long a block may wait, whatever it waits in."""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SOONEST = 0.001
"""Seconds: a timer of none would never go off."""


@contextmanager
def deadline(seconds: float, *, missing: str = "no whole answer") -> Iterator[None]:
    """Raise TimeoutError in the block when it lasts longer than `seconds`; says what is `missing`.

    Limits of sockets begin anew with every byte; this one does not. Of blocks within each other
    the nearest deadline counts. It goes off once: who catches that has no limit any more.

    No signal reaches other threads than the main one. There the error comes when what the block
    waits in comes back to Python, as sockets with a limit of their own do.
    """
    in_main = threading.current_thread() is threading.main_thread()
    with (_by_signal if in_main else _by_timer)(max(seconds, SOONEST), missing):
        yield


@contextmanager
def _by_signal(seconds: float, missing: str) -> Iterator[None]:
    over = False

    def end(_number: int, _frame: FrameType | None) -> None:
        if not over:
            raise TimeoutError(f"{missing} within {seconds:g} seconds")

    left, _ = signal.getitimer(signal.ITIMER_REAL)
    if 0 < left <= seconds:
        yield  # the block around this one ends before
        return
    begun = time.monotonic()
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            left -= time.monotonic() - begun
            signal.setitimer(signal.ITIMER_REAL, max(left, SOONEST))


class _OutOfTimeError(TimeoutError):
    """Raised in a thread by another one, which can name a class and nothing more."""

    def __str__(self) -> str:
        return "no whole answer in time"


@contextmanager
def _by_timer(seconds: float, missing: str) -> Iterator[None]:
    thread = threading.get_ident()
    gate = threading.Lock()
    over = sent = arrived = False

    def end() -> None:
        nonlocal sent
        with gate:
            if not over:
                sent = True
                _raise_in(thread, _OutOfTimeError)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except _OutOfTimeError as error:
        if not sent:
            raise  # it is of a block around this one
        arrived = True
        raise TimeoutError(f"{missing} within {seconds:g} seconds") from error
    finally:
        timer.cancel()
        with gate:
            over = True
        if sent and not arrived:
            # Where the block ended meanwhile, it must not come to what follows.
            _raise_in(thread, None)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Have an error raised in a thread, or take back what was not raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
