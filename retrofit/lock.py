"""One run of a target at a time, on this machine and, with a shared backend, on all of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tooz import ToozError, coordination

from retrofit.config import LockSettings
from retrofit.errors import BusyError, ConfigError


@contextmanager
def held(settings: LockSettings, state_dir: Path, target: str) -> Iterator[None]:
    """Hold a target's lock for the length of the block.

    The local file lock is always taken: it is what proves that work left on this machine is of a
    dead run. Raises BusyError when somebody else holds one, ConfigError for a backend out of reach.
    """
    locks = state_dir / "locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot use the state directory {state_dir}: {error.strerror}",
            hint="run as root, or set paths.state",
        ) from error
    with ExitStack() as stack:
        stack.enter_context(_held(f"file://{locks.resolve()}", target, where="this machine"))
        if settings.url is not None:
            stack.enter_context(_held(settings.url, target, where="another machine"))
        yield


@contextmanager
def _held(url: str, target: str, *, where: str) -> Iterator[None]:
    member = f"{socket.gethostname()}-{os.getpid()}".encode()
    try:
        coordinator = coordination.get_coordinator(url, member)
        coordinator.start(start_heart=True)
    except (ToozError, OSError, ImportError) as error:
        raise ConfigError(
            f"the lock backend cannot be used: {error}", hint="check lock.url and its server"
        ) from error
    try:
        lock = coordinator.get_lock(f"retrofit-{target}".encode())
        if not _acquire(lock):
            raise BusyError(
                f"another run of target {target} is going on on {where}",
                hint="wait for it to end; its lock ends with its process",
            )
        try:
            yield
        finally:
            lock.release()
    finally:
        coordinator.stop()


def _acquire(lock: Any) -> bool:
    """Try once; some drivers answer False, others raise when somebody else holds the lock."""
    try:
        return bool(lock.acquire(blocking=False))
    except (ToozError, coordination.LockAcquireFailed):
        return False
