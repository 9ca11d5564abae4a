"""A limit on how long a block may wait, whatever it waits in.

A watchdog process could do without signals and exceptions from another thread, but it can only end
a whole command. These limits end one request, which is repeated, or one check, which is reported as
failed. Only runs of timer and worker have a process that watches them (`schedule.time_limit`); a
command by hand has none, nor have the worker's own threads, which ask the cloud for the status
page: there a response that trickles would keep a target's status as it is for good.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

Ended = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
"""How a block ended, as Python tells a context manager."""
SOONEST = 0.001
"""Seconds: a timer of none would never go off."""
START_TIMEOUT = 5.0
"""Seconds in which any thread has long started; an interrupted start stays on the list."""

_sending = threading.Lock()
_starting: set[int] = set()
"""Threads that start a timer of ours, to which nothing is sent meanwhile.

Not even after the timer runs: what ends `Thread.start` in the midst of its waiting leaves it with a
RuntimeError, which says nothing of a deadline.
"""


class deadline:
    """Raise TimeoutError in the block when it lasts longer than `seconds`; names what is `missing`.

    The timeout of a socket starts again with every byte; this one does not. Of nested blocks the
    nearest deadline counts.

    No signal reaches other threads than the main one. There the error is raised when what the
    block waits in returns to Python, as sockets with a timeout of their own do.
    """

    def __init__(self, seconds: float, *, missing: str = "no whole answer") -> None:
        self._seconds = max(seconds, SOONEST)
        self._missing = missing

    def __enter__(self) -> None:
        in_main = threading.current_thread() is threading.main_thread()
        self._limit = (_by_signal if in_main else _by_timer)(self._seconds, self._missing)
        try:
            self._limit.__enter__()
        except _OutOfTimeError as error:
            self._told(error)
            raise

    def __exit__(self, *ended: *Ended) -> bool | None:
        # Before the next line, and only there, ours would come out as what it is: when time is over
        # at the very end of the block.
        try:
            return self._limit.__exit__(*ended)
        except _OutOfTimeError as error:
            self._told(error)
            raise

    def _told(self, error: BaseException) -> None:
        """Tell the limit of an error that came between it and the block, on the way in or out.

        Raises TimeoutError where it is of this limit; of a block around, nothing happens.
        """
        self._limit.__exit__(type(error), error, error.__traceback__)


class _OutOfTimeError(BaseException):
    """Ends a block, and becomes a TimeoutError at its end.

    No Exception, and so no OSError: keystoneauth takes a TimeoutError for one way of many to log in
    that does not work, and tries the next one, which has no limit any more.
    """


@contextmanager
def _by_signal(seconds: float, missing: str) -> Iterator[None]:
    over = False
    ours = _OutOfTimeError()

    def end(_number: int, _frame: FrameType | None) -> None:
        if not over:
            raise ours

    left, _ = signal.getitimer(signal.ITIMER_REAL)
    if 0 < left <= seconds:
        yield  # the block around this one ends before
        return
    begun = time.monotonic()
    before = signal.getsignal(signal.SIGALRM)
    # The alarm, of this block or of one around it, may come before any line: what it raises as ours
    # has to be met, and whatever it keeps from being done there, the timer is given back.
    try:
        try:
            signal.signal(signal.SIGALRM, end)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        finally:
            over = True
    except _OutOfTimeError as error:
        if error is not ours:
            raise  # it is of a block around this one
        raise _exceeded(seconds, missing) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            left -= time.monotonic() - begun
            signal.setitimer(signal.ITIMER_REAL, max(left, SOONEST))


def _exceeded(seconds: float, missing: str) -> TimeoutError:
    return TimeoutError(f"{missing} within {seconds:g} seconds")


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
    try:
        try:
            _start(timer)
            yield
        except _OutOfTimeError:
            arrived = sent
            raise
        finally:
            over = True  # first: from here on anything may be interrupted by a block around this
            timer.cancel()
            with gate:
                pass  # what is being sent is sent
            if sent and not arrived:
                # Where the block ended meanwhile, it must not come to what follows.
                _raise_in(thread, None)
    except _OutOfTimeError as error:
        if not sent:
            raise  # it is of a block around this one
        raise _exceeded(seconds, missing) from error


def _start(timer: threading.Timer) -> None:
    thread = threading.get_ident()
    try:
        with _sending:
            _starting.add(thread)  # what was sent before is raised here, at the latest
        timer.start()
    finally:
        _starting.discard(thread)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Have an error raised in a thread, or take back what was not raised yet.

    A thread that is just being started has its parent's identity for a moment, up to Python 3.11:
    the error would end that one, and the parent would wait for it for ever.
    """
    patience = time.monotonic() + START_TIMEOUT
    while True:
        # Under the one no thread begins to start, under the other none of the timers above.
        with threading._active_limbo_lock, _sending:  # type: ignore[attr-defined]
            late = time.monotonic() > patience
            if late or not (threading._limbo or thread in _starting):  # type: ignore[attr-defined]
                _set_error(thread, error)
                return
        time.sleep(SOONEST)


def _set_error(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
