"""Ctrl-C and `systemctl stop` end a run the same way: through every cleanup, once."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from retrofit.threads import begun

log = structlog.get_logger(__name__)

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FROM_THREAD = signal.SIGUSR2
"""Wakes the main thread from whatever it waits in, which `_thread.interrupt_main` does not."""


class GivingUp(KeyboardInterrupt):
    """A thread of this process found that the work in the main thread must end."""


class _Cleanup:
    """Which interruption is being cleaned up after: no second one may break that."""

    stopping = False
    giving_up = False
    withheld: str | None = None
    blocks = 0
    """How many blocks deep threads may interrupt."""
    shields = 0
    """How many blocks deep nothing may interrupt."""
    put_off: KeyboardInterrupt | None = None


_cleanup = _Cleanup()


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first stopping signal into KeyboardInterrupt, and ignore all that follow.

    KeyboardInterrupt passes every `except Exception` of the libraries in between; a second one
    would break the cleanup that the first one started.
    """

    # Not told by the handler itself: the logger has a lock, which the code that the signal
    # interrupted may hold, and would hold for ever.
    tidings: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
    teller = threading.Thread(target=_tell, args=(tidings,), name="signals told", daemon=True)

    def handle(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if _cleanup.stopping:
            tidings.put(("already stopping, cleaning up first", name))
            return
        _cleanup.stopping = True
        tidings.put(("stopping", name))
        if _cleanup.giving_up:
            _cleanup.withheld = name
            return
        _interrupt(KeyboardInterrupt(name))

    _cleanup.stopping = False
    begun(teller.start)
    previous = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _cleanup.stopping = False
        tidings.put(None)
        teller.join()


def _interrupt(interruption: KeyboardInterrupt) -> None:
    if _cleanup.shields:
        _cleanup.put_off = interruption
    else:
        raise interruption


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let what interrupts the main thread wait until the block is done: it may not stop halfway.

    The handlers see to it. A signal mask would not do: the kernel gives the signal to another
    thread, and Python its handling to the main one; and programs would start with it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _cleanup.shields += 1
    try:
        yield
    finally:
        _cleanup.shields -= 1
        if _cleanup.shields == 0:
            interruption, _cleanup.put_off = _cleanup.put_off, None
            if interruption is not None:
                raise interruption


def _tell(tidings: queue.SimpleQueue[tuple[str, str] | None]) -> None:
    while (news := tidings.get()) is not None:
        event, name = news
        log.warning(event, signal=name)


@contextmanager
def interruptible_by_thread() -> Iterator[Callable[[], None]]:
    """Yield what another thread may call, once, to have the block end with GivingUp.

    A stopping signal that comes while the block cleans up is raised at its end. Outside of the
    main thread, where no signal can be handled, the call does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    main = threading.main_thread()
    gate = threading.Lock()
    armed = True

    def handle(_number: int, _frame: FrameType | None) -> None:
        if not (_cleanup.stopping or _cleanup.giving_up):
            _cleanup.giving_up = True
            _interrupt(GivingUp())

    def interrupt() -> None:
        with gate:
            if armed and main.ident is not None:
                signal.pthread_kill(main.ident, FROM_THREAD)

    previous = signal.signal(FROM_THREAD, handle)
    _cleanup.blocks += 1
    try:
        yield interrupt
    finally:
        with gate:
            armed = False
        # Never the default, which would kill us for a signal that is still on its way.
        signal.signal(FROM_THREAD, previous if callable(previous) else signal.SIG_IGN)
        _cleanup.blocks -= 1
        if _cleanup.blocks == 0:
            _cleanup.giving_up = False
            withheld, _cleanup.withheld = _cleanup.withheld, None
            if withheld:
                raise KeyboardInterrupt(withheld)
