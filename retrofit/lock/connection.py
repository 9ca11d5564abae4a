"""A connection to a lock server, by a thread that alone talks to it."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from tooz import ToozError, coordination

from retrofit.errors import CloudError, ConfigError
from retrofit.lock.drivers import decode_credentials, driver_options
from retrofit.lock.holder import member
from retrofit.system.threads import start_in_time

log = structlog.get_logger(__name__)

T = TypeVar("T")

RENEWALS = 3
"""Renewals within a lease, while the server answers."""
REDIS_PORT = 6379
CONNECT_SECONDS = 20.0
"""How long a server may take to grant or to refuse the lock."""


class LockThread(threading.Thread):
    """The only thread that talks to the lock's server.

    Drivers retry on their own for longer than a lease, so a thread with a deadline must not call
    them itself. This one is a daemon: the process can end while a driver hangs.
    """

    def __init__(self) -> None:
        super().__init__(name="lock server", daemon=True)
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )

    def call(self, function: Callable[[], T], *, timeout: float) -> T:
        """Return the function's result; raises TimeoutError after `timeout` seconds."""
        result: Future[T] = Future()
        self._calls.put((function, result))
        try:
            return result.result(timeout=timeout)
        except TimeoutError:
            result.cancel()  # a call that has not started yet never does
            raise

    def finish(self) -> None:
        """End the thread after the calls that are queued."""
        self._calls.put(None)

    def run(self) -> None:
        """Make one call after the other."""
        while (entry := self._calls.get()) is not None:
            function, result = entry
            if not result.set_running_or_notify_cancel():
                continue
            try:
                result.set_result(function())
            except BaseException as error:  # raised where the call was requested
                result.set_exception(error)


@contextmanager
def connected(url: str, lease: int) -> Iterator[tuple[LockThread, Any]]:
    """Connect to a lock server for the length of the block, by a thread that alone talks to it."""
    thread = LockThread()
    start_in_time(thread.start)
    try:
        coordinator = _connect(thread, url, lease, server_of(url))
        try:
            yield thread, coordinator
        finally:
            call_at_end(thread, coordinator.stop, lease, "connection to lock server not closed")
    finally:
        thread.finish()


def server_of(url: str) -> str:
    """Return the address of a server without credentials, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _connect(thread: LockThread, url: str, lease: int, server: str) -> Any:
    parts = urlsplit(url)
    try:
        coordinator = coordination.get_coordinator(url, member(), **driver_options(url, lease))
        decode_credentials(url, coordinator)
    except (
        ImportError,
        RuntimeError,
    ) as error:  # RuntimeError is stevedore's
        raise ConfigError(
            f"the lock server {server} needs a library that is not installed",
            hint="install the extra for it: docs/how-to/several-machines.md lists them",
        ) from error
    except (ToozError, ValueError, TypeError) as error:
        raise ConfigError(
            f"the lock server {server} cannot be used: {error}", hint="check lock.url"
        ) from error
    try:
        if parts.scheme == "redis":
            # Its driver retries for a minute when nothing listens: connect first.
            socket.create_connection(
                (parts.hostname, parts.port or REDIS_PORT), timeout=lease / RENEWALS
            ).close()
        # Without tooz's own heartbeat, which does not report that a lock was lost.
        thread.call(lambda: coordinator.start(start_heart=False), timeout=CONNECT_SECONDS)
    except Exception as error:
        raise unreachable(server, error) from error
    return coordinator


def unreachable(server: str, error: Exception) -> CloudError:
    """Return the error of a server that does not answer, or answers with one."""
    reason = str(error) or f"no answer within {CONNECT_SECONDS:.0f} s"
    return CloudError(
        f"the lock server {server} cannot be used: {reason}",
        hint="check lock.url, and that its server is up and reachable from here",
    )


def call_at_end(
    thread: LockThread, function: Callable[[], Any], lease: float, failure: str
) -> None:
    """Call a function that cleans up on the server; a failure is logged as `failure`."""
    try:
        thread.call(function, timeout=lease / RENEWALS)
    except Exception as error:
        log.warning(failure, error=str(error) or type(error).__name__)
