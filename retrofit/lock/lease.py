"""A lock on a server: taken once, kept while the work lasts, and known to be lost when it is.

Whoever has such a lock holds a lease. Another machine may take the lock one lease after our last
sign of life; we call it lost after two thirds of that, and stop, so that a third of a lease lies
between our last write and its first.
"""

from __future__ import annotations

import os
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from tooz import ToozError, coordination

from retrofit.errors import BusyError, CloudError, ConfigError, LockLostError
from retrofit.interrupts import GivingUp, interruptible_by_thread
from retrofit.lock_proof import driver_options, proves
from retrofit.threads import begun

log = structlog.get_logger(__name__)

T = TypeVar("T")

CERTAIN = 2 / 3
"""The part of a lease after a proof of ownership in which the lock surely is ours."""
RENEWALS = 3
"""Proofs within a lease, while all is well."""
RETRY_AFTER = 0.5
"""Seconds between two attempts to reach a server that does not answer."""
REDIS_PORT = 6379
CONNECT_SECONDS = 20.0
"""How long a server may take to give us the lock or to refuse it."""


def _now() -> float:
    """Return seconds of a clock that goes on while the machine sleeps, unlike time.monotonic."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clerk(threading.Thread):
    """The one thread that talks to the lock's server.

    Drivers retry on their own, for longer than a lease: nobody who has to keep a deadline may be
    the one who waits inside of them. It is a daemon, so that a process can end though it hangs.
    """

    def __init__(self) -> None:
        super().__init__(name="lock server", daemon=True)
        self._requests: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )

    def ask(self, question: Callable[[], T], *, within: float) -> T:
        """Return the answer; raises TimeoutError when there is none within some seconds."""
        answer: Future[T] = Future()
        self._requests.put((question, answer))
        try:
            return answer.result(timeout=within)
        except TimeoutError:
            answer.cancel()  # nobody waits for it any more: if it was not begun, it never is
            raise

    def dismiss(self) -> None:
        """Let the thread end once it has done what it was asked."""
        self._requests.put(None)

    def run(self) -> None:
        """Answer one request after the other."""
        while (request := self._requests.get()) is not None:
            question, answer = request
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(question())
            except BaseException as error:  # whoever asked decides
                answer.set_exception(error)


class SharedLock:
    """A lock that was just acquired, kept by a thread until `end`."""

    def __init__(
        self, clerk: Clerk, prove: Callable[[], bool], *, lease: float, asked_at: float, target: str
    ) -> None:
        self._clerk = clerk
        self._prove = prove
        self._lease = lease
        self._target = target
        self._proved_at = asked_at
        self._mutex = threading.Lock()
        self._ending = threading.Event()
        self._silent = False
        self.lost: LockLostError | None = None

    def check(self) -> None:
        """Raise LockLostError unless the server confirms, now, that the lock is ours.

        A server that does not answer is asked again while the lock surely is ours; only its word
        counts, as a machine that was stopped and resumed cannot trust its own clocks.
        """
        while self.lost is None and not self._expired():
            if self._proved(within=self._left()):
                return
            if self.lost is None:
                time.sleep(RETRY_AFTER)
        if self.lost is not None:
            # Whoever asked knows: an interruption now would only break the cleanup that follows.
            self.end()
            raise self.lost

    def keep(self, on_loss: Callable[[], None]) -> None:
        """Renew the lock until `end`, or until it is lost, which is told once."""

        def keep() -> None:
            while not self._ending.wait(RETRY_AFTER if self._silent else self._lease / RENEWALS):
                if not self._expired():
                    self._proved(within=self._left())
                if self.lost is not None and not self._ending.is_set():
                    log.error("lock lost", target=self._target, why=self.lost.message)
                    on_loss()
                if self.lost is not None:
                    return

        begun(threading.Thread(target=keep, name="lock keeper", daemon=True).start)

    def end(self) -> None:
        """Stop renewing."""
        self._ending.set()

    def _left(self) -> float:
        return max(self._proved_at + self._lease * CERTAIN - _now(), 0.0)

    def _expired(self) -> bool:
        if self._left() > 0:
            return False
        self._lose(
            f"its server could not be asked for {_now() - self._proved_at:.0f} s,"
            " and another machine may take it"
        )
        return True

    def _proved(self, *, within: float) -> bool:
        asked_at = _now()
        try:
            ours = self._clerk.ask(self._prove, within=within)
        except Exception as error:  # drivers raise what their libraries do
            if not self._silent:
                said = str(error) or type(error).__name__
                log.warning("lock server does not answer", target=self._target, error=said)
            self._silent = True
            return False
        if not ours:
            self._lose("its server says that it is not ours any more")
            return False
        if self._silent:
            log.info("lock server answers again", target=self._target)
        self._silent = False
        with self._mutex:
            self._proved_at = max(self._proved_at, asked_at)
        return True

    def _lose(self, why: str) -> None:
        with self._mutex:
            if self.lost is None:
                self.lost = LockLostError(
                    f"the lock of target {self._target} was lost: {why}",
                    hint="nothing is written without it; whoever holds it now, or the next run,"
                    " goes on from what is in Glance",
                )


@contextmanager
def shared(url: str, lease: int, name: bytes, *, target: str) -> Iterator[SharedLock]:
    """Hold a lock on a server for the length of the block, which ends early when it is lost.

    Raises BusyError when somebody else holds it, ConfigError for a URL that cannot be used,
    CloudError for a server out of reach, LockLostError when the lock was lost meanwhile.
    """
    parts = urlsplit(url)
    server = f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    clerk = Clerk()
    begun(clerk.start)
    try:
        coordinator = _connected(clerk, url, lease, server)
        try:
            asked_at = _now()
            lock = _acquired(clerk, coordinator, name, server, target)
            keeper = SharedLock(
                clerk,
                proves(url, coordinator, lock),
                lease=lease,
                asked_at=asked_at,
                target=target,
            )
            try:
                with interruptible_by_thread() as interrupt:
                    keeper.keep(interrupt)
                    yield keeper
            except GivingUp:
                if keeper.lost is None:
                    raise
                raise keeper.lost from None
            finally:
                keeper.end()
                _let_go(clerk, lock.release, lease, "lock not released, it ends with its lease")
        finally:
            _let_go(clerk, coordinator.stop, lease, "lock server not told goodbye")
    finally:
        clerk.dismiss()


def _connected(clerk: Clerk, url: str, lease: int, server: str) -> Any:
    parts = urlsplit(url)
    member = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}".encode()
    try:
        coordinator = coordination.get_coordinator(url, member, **driver_options(url, lease))
    except (ImportError, RuntimeError) as error:  # stevedore's word for an import that failed
        raise ConfigError(
            f"the lock server {server} needs a library that is not installed",
            hint="install retrofit with the extra that README.md names for it",
        ) from error
    except (ToozError, ValueError, TypeError) as error:
        raise ConfigError(
            f"the lock server {server} cannot be used: {error}", hint="check lock.url"
        ) from error
    try:
        if parts.scheme == "redis":
            # Its driver tries for a minute where nothing listens: ask first.
            socket.create_connection(
                (parts.hostname, parts.port or REDIS_PORT), timeout=lease / RENEWALS
            ).close()
        # Without tooz's own heart, which does not tell whether the lock is still ours.
        clerk.ask(lambda: coordinator.start(start_heart=False), within=CONNECT_SECONDS)
    except Exception as error:
        raise _out_of_reach(server, error) from error
    return coordinator


def _acquired(clerk: Clerk, coordinator: Any, name: bytes, server: str, target: str) -> Any:
    lock = coordinator.get_lock(name)
    try:
        acquired = clerk.ask(lambda: _acquire(lock), within=CONNECT_SECONDS)
    except Exception as error:
        raise _out_of_reach(server, error) from error
    if not acquired:
        raise BusyError(
            f"another run of target {target} is going on on another machine",
            hint="wait for it to end; if its machine died, its lock ends with its lease",
        )
    return lock


def _acquire(lock: Any) -> bool:
    """Try once; some drivers answer False, others raise when somebody else holds the lock."""
    try:
        return bool(lock.acquire(blocking=False))
    except coordination.LockAcquireFailed:
        return False


def _out_of_reach(server: str, error: Exception) -> CloudError:
    said = str(error) or f"no answer within {CONNECT_SECONDS:.0f} s"
    return CloudError(
        f"the lock server {server} cannot be used: {said}",
        hint="check lock.url, and that its server is up and reachable from here",
    )


def _let_go(clerk: Clerk, action: Callable[[], Any], lease: float, otherwise: str) -> None:
    """Do what ends our part on the server; that it fails changes nothing for us."""
    try:
        clerk.ask(action, within=lease / RENEWALS)
    except Exception as error:
        log.warning(otherwise, error=str(error) or type(error).__name__)
