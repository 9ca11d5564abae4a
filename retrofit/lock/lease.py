"""A lock on a server: acquired once, renewed while the work lasts, and its loss noticed.

Such a lock has a lease: another machine may acquire the lock one lease after our last renewal. We
count it as lost after two thirds of that, and stop, so that a third of a lease lies between our
last write and the other machine's first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import structlog
from tooz import coordination

from retrofit.errors import LockedError, LockLostError
from retrofit.lock.connection import (
    CONNECT_SECONDS,
    RENEWALS,
    LockThread,
    call_at_end,
    connected,
    server_of,
    unreachable,
)
from retrofit.lock.drivers import renewal
from retrofit.lock.holder import Holder, erase_note, look_up, write_note
from retrofit.system.signals import AbortedByThreadError, interruptible_by_thread
from retrofit.system.threads import start_in_time

log = structlog.get_logger(__name__)

T = TypeVar("T")

SAFE_PART = 2 / 3
"""The part of a lease, after a renewal, in which the lock certainly is ours."""
RETRY_AFTER = 0.5
"""Seconds between two attempts to reach a server that does not answer."""


def _now() -> float:
    """Return seconds of a clock that, unlike time.monotonic, runs during suspension."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SharedLock:
    """A lock that was just acquired, and that a thread renews until `end`."""

    def __init__(
        self,
        thread: LockThread,
        renew: Callable[[], bool],
        *,
        lease: float,
        acquired_at: float,
        target: str,
    ) -> None:
        self._thread = thread
        self._renew = renew
        self._lease = lease
        self._target = target
        self._renewed_at = acquired_at
        self._mutex = threading.Lock()
        self._ending = threading.Event()
        self._silent = False
        self.lost: LockLostError | None = None

    def check(self) -> None:
        """Raise LockLostError unless the server confirms, now, that the lock is ours.

        A server that does not answer is asked again while the lock certainly is ours. Only its
        answer counts: a machine that was suspended cannot trust its own clocks.
        """
        while self.lost is None and not self._expired():
            if self._is_renewed(timeout=self._left()):
                return
            if self.lost is None:
                time.sleep(RETRY_AFTER)
        if self.lost is not None:
            # The caller knows now: an interruption would only break the cleanup that follows.
            self.end()
            raise self.lost

    def keep(self, on_loss: Callable[[], None]) -> None:
        """Renew the lock until `end`, or until it is lost; `on_loss` is called once."""

        def keep() -> None:
            while not self._ending.wait(RETRY_AFTER if self._silent else self._lease / RENEWALS):
                if not self._expired():
                    self._is_renewed(timeout=self._left())
                if self.lost is not None and not self._ending.is_set():
                    log.error("lock lost", target=self._target, reason=self.lost.message)
                    on_loss()
                if self.lost is not None:
                    return

        start_in_time(threading.Thread(target=keep, name="lock renewal", daemon=True).start)

    def end(self) -> None:
        """Stop renewing."""
        self._ending.set()

    def _left(self) -> float:
        return max(self._renewed_at + self._lease * SAFE_PART - _now(), 0.0)

    def _expired(self) -> bool:
        if self._left() > 0:
            return False
        self._lose(
            f"its server has not answered for {_now() - self._renewed_at:.0f} s,"
            " and another machine may acquire it"
        )
        return True

    def _is_renewed(self, *, timeout: float) -> bool:
        sent_at = _now()
        try:
            ours = self._thread.call(self._renew, timeout=timeout)
        except Exception as error:  # drivers raise what their libraries do
            if not self._silent:
                reason = str(error) or type(error).__name__
                log.warning("lock server does not answer", target=self._target, error=reason)
            self._silent = True
            return False
        if not ours:
            self._lose("according to its server it is not ours any more")
            return False
        if self._silent:
            log.info("lock server answers again", target=self._target)
        self._silent = False
        with self._mutex:
            self._renewed_at = max(self._renewed_at, sent_at)
        return True

    def _lose(self, why: str) -> None:
        with self._mutex:
            if self.lost is None:
                self.lost = LockLostError(
                    f"the lock of target {self._target} was lost: {why}",
                    hint="this run writes no more; the run that holds the lock, or the next one,"
                    " continues from what is in Glance",
                )


@contextmanager
def shared_lock(
    url: str, lease: int, names: Sequence[bytes], *, target: str, what: str | None = None
) -> Iterator[SharedLock]:
    """Hold locks on a server for the length of the block, which ends early when one is lost.

    They count as one lock: acquired in the order of `names`, all of them or none, and renewed
    together. `lease` is in seconds, `what` the work that they are of (None: a run of the target).
    Raises LockedError when another machine holds one of them, ConfigError for a URL that cannot be
    used, CloudError for an unreachable server, LockLostError for a lost lock.
    """
    with connected(url, lease) as (thread, coordinator), ExitStack() as release:
        acquired_at = _now()
        renewals = []
        for name in names:
            lock = _acquire(thread, coordinator, name, url, what or f"run of target {target}")
            release.callback(
                call_at_end,
                *(thread, lock.release, lease, "lock not released, its lease ends it"),
            )
            release.callback(
                call_at_end,
                *(thread, partial(erase_note, url, coordinator, lock), lease, "note not erased"),
            )
            renewals.append(
                _noted(thread, renewal(url, coordinator, lock), url, coordinator, lock, lease)
            )
        held = SharedLock(
            thread,
            partial(_all_renewed, renewals),
            lease=lease,
            acquired_at=acquired_at,
            target=target,
        )
        release.callback(held.end)
        try:
            with interruptible_by_thread() as abort:
                held.keep(abort)
                yield held
        except AbortedByThreadError:
            if held.lost is None:
                raise
            raise held.lost from None


def holder_elsewhere(url: str, lease: int, name: bytes) -> Holder | None:
    """Return the process that holds the lock of this name; None where none is known to.

    Raises ConfigError, CloudError.
    """
    with connected(url, lease) as (thread, coordinator):
        return _holder_of(thread, url, coordinator, coordinator.get_lock(name))


def _noted(
    thread: LockThread,
    renew: Callable[[], bool],
    url: str,
    coordinator: Any,
    lock: Any,
    lease: int,
) -> Callable[[], bool]:
    """Return what renews a lock, and beside it the note of who has it.

    The note is for people: the lock is as good without it.
    """

    def note() -> None:
        try:
            write_note(url, coordinator, lock, lease)
        except Exception as error:  # drivers raise what their libraries do
            log.debug("holder of the lock not noted", error=str(error) or type(error).__name__)

    def renew_both() -> bool:
        ours = renew()
        if ours:
            note()
        return ours

    with suppress(TimeoutError):
        thread.call(note, timeout=lease / RENEWALS)
    return renew_both


def _holder_of(thread: LockThread, url: str, coordinator: Any, lock: Any) -> Holder | None:
    try:
        return thread.call(lambda: look_up(url, coordinator, lock), timeout=CONNECT_SECONDS)
    except Exception as error:  # drivers raise what their libraries do
        log.debug("holder of the lock not known", error=str(error) or type(error).__name__)
        return None


def _all_renewed(renewals: Iterable[Callable[[], bool]]) -> bool:
    return all(renew() for renew in renewals)


def _acquire(thread: LockThread, coordinator: Any, name: bytes, url: str, what: str) -> Any:
    lock = coordinator.get_lock(name)
    try:
        acquired = thread.call(lambda: _try_to_acquire(lock), timeout=CONNECT_SECONDS)
    except Exception as error:
        raise unreachable(server_of(url), error) from error
    if not acquired:
        found = _holder_of(thread, url, coordinator, lock)
        who = f": {found.phrase()}" if found else ""
        raise LockedError(
            f"another {what} is going on, on another machine{who}",
            hint="wait for it to end, or end it there; if its machine died, its lock ends"
            " with its lease. With lock.exclude_0_1 a target of this name in another cloud counts"
            " too",
        )
    return lock


def _try_to_acquire(lock: Any) -> bool:
    """Return True if the lock is ours now; some drivers raise when another client holds it."""
    try:
        return bool(lock.acquire(blocking=False))
    except coordination.LockAcquireFailed:
        return False
