"""One run of a target at a time, on this machine and, with a lock server, on all of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tooz import ToozError, coordination

from retrofit.config import LockSettings
from retrofit.errors import BusyError, ConfigError
from retrofit.places import make_place
from retrofit.shared_lock import shared
from retrofit.write_permit import writes_need


class Lock(Protocol):
    """A lock that a run holds."""

    def check(self) -> None:
        """Raise LockLostError unless it is certain, now, that the lock is still held."""


class LocalLock:
    """A file lock: the kernel takes it away with the process, and at no other time."""

    def check(self) -> None:
        """Find the lock held."""


@contextmanager
def held(settings: LockSettings, state_dir: Path, target: str) -> Iterator[Lock]:
    """Hold a target's lock for the length of the block.

    The local file lock is always taken: it is what proves that work left on this machine is of a
    dead run. With a lock server, every write to the cloud in the block is preceded by a check.
    Raises BusyError when somebody else holds one, ConfigError for a lock that cannot be
    made, CloudError for a lock server out of reach, LockLostError in place of what the block was
    doing when its lock was lost.
    """
    with _held_here(state_dir, target):
        if settings.url is None:
            yield LocalLock()
            return
        with (
            shared(settings.url, settings.lease, lock_name(target), target=target) as lock,
            writes_need(lock.check),
        ):
            yield lock


def lock_name(target: str) -> bytes:
    """Return the name under which all machines lock a target."""
    return f"retrofit-{target}".encode()


@contextmanager
def _held_here(state_dir: Path, target: str) -> Iterator[None]:
    locks = state_dir / "locks"
    try:
        make_place(locks)
    except OSError as error:
        raise ConfigError(
            f"cannot use the state directory {state_dir}: {error.strerror}",
            hint="run as root, or set paths.state",
        ) from error
    member = f"{socket.gethostname()}-{os.getpid()}".encode()
    coordinator = coordination.get_coordinator(f"file://{locks.resolve()}", member)
    coordinator.start()
    try:
        lock = coordinator.get_lock(lock_name(target))
        try:
            acquired = lock.acquire(blocking=False)
        except ToozError as error:
            raise ConfigError(
                f"cannot lock target {target} in {locks}: {error}",
                hint="run as root, or set paths.state",
            ) from error
        if not acquired:
            raise BusyError(
                f"another run of target {target} is going on on this machine",
                hint="wait for it to end; its lock ends with its process",
            )
        try:
            yield
        finally:
            lock.release()
    finally:
        coordinator.stop()
