"""One run of a target at a time, on this machine and, with a lock server, on all of them."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from tooz import ToozError, coordination

from retrofit.config import LockSettings
from retrofit.errors import ConfigError, LockedError
from retrofit.lock.fence import check_before_writes
from retrofit.lock.lease import shared_lock
from retrofit.lock.names import old_name
from retrofit.system.directories import make_directory
from retrofit.system.resource_errors import way_out

RETRY_AFTER = 0.5
"""Seconds between two attempts to take a lock that another process holds for a moment."""
ROLLOVER = "rollover of this cloud"
CHANGES = b":changes"
"""Follows the name of a target's lock in that of the lock of its changes; no target has a colon."""


class Lock(Protocol):
    """A lock that a run holds."""

    def check(self) -> None:
        """Raise LockLostError unless the lock is certainly still held."""


class LocalLock:
    """A file lock: it ends with its process, and at no other time."""

    def check(self) -> None:
        """Do nothing: the lock cannot be lost."""


@contextmanager
def held(
    settings: LockSettings,
    state_dir: Path,
    target: str,
    shared: Callable[[], bytes] | None = None,
) -> Iterator[Lock]:
    """Hold a target's lock for the length of the block.

    The local file lock is always taken: it proves that leftovers on this machine are of a dead
    run. It has the target's name alone, as 0.1.0's has: what it guards in `state_dir` does too.
    With a lock server, the lock is checked before every write to the cloud in the block. There
    `shared` returns its name, which is asked for once this machine's lock is held; without it, and
    with `exclude_0_1` besides, 0.1.0's name is taken. The order is always the same, and nothing
    waits: two runs never wait for each other.
    Raises LockedError when another run holds the lock, ConfigError when it cannot be created,
    CloudError when the lock server is unreachable, and LockLostError, which ends the block, when
    the lock was lost.
    """
    names = partial(_names, settings, target, shared)
    with _held(settings, state_dir, target, old_name(target), names) as lock:
        yield lock


@contextmanager
def changes_held(
    settings: LockSettings,
    state_dir: Path,
    target: str,
    shared: Callable[[], bytes],
    *,
    wait: float,
) -> Iterator[None]:
    """Hold the lock of a target's changes in Glance for the length of the block.

    A run has it while it promotes, demotes and retires, and not while it fetches, builds, verifies
    and uploads: that takes an hour, and a person who promotes must not wait for it. What takes both
    takes the run's lock first. Another process that holds it is waited for, `wait`
    seconds at most. Raises as `held`.
    """
    here = old_name(target) + CHANGES
    for attempt in itertools.count():
        if attempt:
            time.sleep(RETRY_AFTER)
        with ExitStack() as stack:
            try:
                stack.enter_context(
                    _held(settings, state_dir, target, here, lambda: (shared() + CHANGES,))
                )
            except LockedError:
                if attempt * RETRY_AFTER >= wait:
                    raise
                continue
            yield
            return


@contextmanager
def rollover_held(
    settings: LockSettings, state_dir: Path, target: str, name: Callable[[], bytes]
) -> Iterator[Lock]:
    """Hold the lock of the rollovers of one Octavia for the length of the block.

    Of all targets and installations: what one moves is an extra load on the whole cloud. It is not
    the lock of a target: no build waits for a night's rollover. `name` is asked for first. Raises
    as `held`, and what `name` raises.
    """
    own = name()
    with _held(settings, state_dir, target, own, lambda: (own,), what=ROLLOVER) as lock:
        yield lock


@contextmanager
def _held(
    settings: LockSettings,
    state_dir: Path,
    target: str,
    here: bytes,
    names: Callable[[], tuple[bytes, ...]],
    *,
    what: str | None = None,
) -> Iterator[Lock]:
    with _held_here(state_dir, target, here, what=what):
        if settings.url is None:
            yield LocalLock()
            return
        with (
            shared_lock(settings.url, settings.lease, names(), target=target, what=what) as lock,
            check_before_writes(lock.check),
        ):
            yield lock


def _way_out(target: str, what: str | None) -> str:
    """Return the hint for a lock of this machine; `cancel` ends a run of a target alone."""
    if what is not None:
        return "wait for it to end, or end its process; its lock ends with that"
    return (
        f"wait for it to end, or end it by `retrofit --target {target} cancel`;"
        " its lock ends with its process"
    )


def _names(
    settings: LockSettings, target: str, shared: Callable[[], bytes] | None
) -> tuple[bytes, ...]:
    if shared is None:
        return (old_name(target),)
    return (*((old_name(target),) if settings.exclude_0_1 else ()), shared())


@contextmanager
def _usable(target: str, locks: Path) -> Iterator[None]:
    """Raise ConfigError where the directory of locks cannot be used."""
    try:
        yield
    except ToozError as error:
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else OSError(str(error))
        raise ConfigError(
            f"cannot lock target {target} in {locks}: {cause.strerror or error}",
            hint=way_out(cause, "paths.state"),
        ) from error


@contextmanager
def _held_here(
    state_dir: Path, target: str, name: bytes, *, what: str | None = None
) -> Iterator[None]:
    locks = state_dir / "locks"
    try:
        make_directory(locks)
    except OSError as error:
        raise ConfigError(
            f"cannot use the state directory {state_dir}: {error.strerror}",
            hint=way_out(error, "paths.state"),
        ) from error
    member = f"{socket.gethostname()}-{os.getpid()}".encode()
    coordinator = coordination.get_coordinator(f"file://{locks.resolve()}", member)
    with _usable(target, locks):
        coordinator.start()
    try:
        lock = coordinator.get_lock(name)
        with _usable(target, locks):
            acquired = lock.acquire(blocking=False)
        if not acquired:
            raise LockedError(
                f"another {what or f'run of target {target}'} is going on, on this machine",
                hint=_way_out(target, what),
            )
        try:
            yield
        finally:
            lock.release()
    finally:
        coordinator.stop()
