"""Ctrl-C and `systemctl stop` end a run the same way: through every cleanup, once."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import structlog

from retrofit.system.threads import start_in_time

log = structlog.get_logger(__name__)

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FROM_THREAD = signal.SIGUSR2
"""Wakes the main thread from whatever it waits in, which `_thread.interrupt_main` does not."""


class AbortedByThreadError(KeyboardInterrupt):
    """A thread of this process ended the work in the main thread.

    A KeyboardInterrupt passes every `except Exception` of the libraries in between.
    """


@dataclass
class _Interruption:
    """The interruption that the main thread cleans up after: no second one may break that.

    A stop that comes after an abort waits for its cleanup; an abort after a stop is ignored.
    """

    stop: str | None = None
    """Name of the first stopping signal."""
    aborted: bool = False
    shields: int = 0
    """How many `uninterrupted` blocks we are in."""
    deferred: KeyboardInterrupt | None = None
    """To be raised at the end of those."""

    def interrupt(self, interruption: KeyboardInterrupt) -> None:
        """Raise it now, or at the end of the blocks that may not be interrupted."""
        if not self.shields:
            raise interruption
        self.deferred = interruption


_state = _Interruption()


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block for the first stopping signal, and ignore the others.

    A second one would break the cleanup that the first one started.
    """
    with _logging_thread() as warn:

        def handle(number: int, _frame: FrameType | None) -> None:
            name = signal.Signals(number).name
            if _state.stop is not None:
                warn("already stopping, cleaning up first", name)
                return
            _state.stop = name
            warn("stopping", name)
            if not _state.aborted:
                _state.interrupt(KeyboardInterrupt(name))

        _state.stop = None
        previous = {number: signal.signal(number, handle) for number in STOPPING}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            _state.stop = None


@contextmanager
def _logging_thread() -> Iterator[Callable[[str, str], None]]:
    """Yield a function that has a thread log an event and the signal it is about.

    A signal handler must not log: the logger has a lock, and the code that the signal interrupted
    may hold it.
    """
    events: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()

    def log_all() -> None:
        while (entry := events.get()) is not None:
            event, name = entry
            log.warning(event, signal=name)

    thread = threading.Thread(target=log_all, name="signal log", daemon=True)
    start_in_time(thread.start)
    try:
        yield lambda event, name: events.put((event, name))
    finally:
        events.put(None)
        thread.join()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer interruptions of the main thread to the end of the block: it may not stop halfway.

    The handlers take care of it. A signal mask would not do: the kernel gives the signal to another
    thread, and Python its handling to the main one; and programs would start with the mask.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.shields += 1
    try:
        yield
    finally:
        _state.shields -= 1
        if _state.shields == 0:
            deferred, _state.deferred = _state.deferred, None
            if deferred is not None:
                raise deferred


@contextmanager
def interruptible_by_thread() -> Iterator[Callable[[], None]]:
    """Yield a function that ends the block, from another thread, with AbortedByThreadError.

    A stopping signal that comes while the block cleans up is raised at its end. Outside of the
    main thread, where no signal can be handled, the function does nothing.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main:
        yield lambda: None
        return
    gate = threading.Lock()
    armed = True

    def abort() -> None:
        with gate:
            if armed and main.ident is not None:
                signal.pthread_kill(main.ident, FROM_THREAD)

    previous = signal.signal(FROM_THREAD, _abort)
    try:
        yield abort
    finally:
        with gate:
            armed = False
        # Never the default, which would kill us for a signal that is still on its way.
        signal.signal(FROM_THREAD, previous if callable(previous) else signal.SIG_IGN)
        # Blocks within blocks end as one.
        if previous is not _abort:
            stop = _state.stop if _state.aborted else None
            _state.aborted = False
            if stop is not None:
                raise KeyboardInterrupt(stop)


def _abort(_number: int, _frame: FrameType | None) -> None:
    if _state.stop is None and not _state.aborted:
        _state.aborted = True
        _state.interrupt(AbortedByThreadError())
