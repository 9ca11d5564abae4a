"""End a run that goes on on this machine, the way Ctrl-C does: it cleans up first."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from retrofit.config import Settings, Target
from retrofit.errors import ConfigError, LockedError, RetrofitError
from retrofit.lock.lease import holder_elsewhere
from retrofit.runner import shared_lock_name
from retrofit.runs.running import RunningRun, holder, lock_file, running_run

ASK_AFTER = 0.5
"""Seconds between two looks whether it has ended."""


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """A run that was ended, and the target that it was of."""

    target: str
    run: RunningRun


def cancel(target: Target, settings: Settings, *, wait: float) -> Cancelled:
    """Send TERM to the run of a target, and return once it has cleaned up and ended.

    Raises ConfigError where none goes on here, with the machine of one that goes on elsewhere as
    far as a lock server knows it; where it is another user's, too; and LockedError
    where it still cleans up after `wait` seconds.
    """
    state = settings.paths.state
    found = running_run(state, settings.paths.logs, target.name)
    if found is None:
        raise _not_here(target, settings)
    # The lock lies in a directory that is ours, and only runs take it.
    try:
        os.kill(found.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it ended by itself just now
    except PermissionError as error:
        raise ConfigError(
            f"{found.phrase()} belongs to another user", hint="run as root, or as that user"
        ) from error
    deadline = time.monotonic() + wait
    while holder(lock_file(state, target.name)) == found.pid:
        if time.monotonic() > deadline:
            raise LockedError(
                f"{found.phrase()} was told to end, and still cleans up",
                hint="wait for it: it unmounts what it mounted and deletes its unfinished record",
            )
        time.sleep(ASK_AFTER)
    return Cancelled(target=target.name, run=found)


def _not_here(target: Target, settings: Settings) -> ConfigError:
    """Return the error of a run that does not go on here, and where one does."""
    message = f"no run of target {target.name} is going on on this machine"
    found = None
    if settings.lock.url is not None:
        with suppress(RetrofitError):  # why it is not known elsewhere does not matter here
            name = shared_lock_name(target)
            found = holder_elsewhere(settings.lock.url, settings.lock.lease, name)
    if found is None:
        return ConfigError(
            message,
            hint="a run of another machine is ended there; `retrofit list` shows what it uploads,"
            " with its host",
        )
    return ConfigError(
        f"{message}: it goes on as {found.phrase()}",
        hint=f"end it on {found.host} by `retrofit --target {target.name} cancel`",
    )
