"""What this machine knows of the others that may serve its targets."""

from __future__ import annotations

from retrofit.config import Settings
from retrofit.plan import Machine
from retrofit.runs.directory import run_directories
from retrofit.runs.own_paths import state_id


def this_machine(settings: Settings) -> Machine:
    """Return which runs the lock excludes: all, or those that share our `paths.state`."""
    return Machine(
        state_id=state_id(settings.paths),
        lock_shared=settings.lock.url is not None,
        runs=frozenset(directory.name for directory in run_directories(settings.paths.logs)),
    )
