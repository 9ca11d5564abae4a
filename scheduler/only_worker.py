"""One worker for each state directory."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from retrofit.errors import ConfigError, LockedError
from retrofit.runs.timetable import WORKER_LOCK
from retrofit.system.directories import make_directory

ATTEMPTS = 5
BETWEEN = 0.1
"""Seconds between two attempts to take the lock."""


@contextmanager
def only_worker(state_directory: Path) -> Iterator[None]:
    """Be the only worker of a state directory for the block. Raises LockedError, ConfigError."""
    path = state_directory / WORKER_LOCK
    try:
        make_directory(state_directory)
        file = path.open("a")
    except OSError as error:
        raise ConfigError(
            f"cannot use the state directory {state_directory}: {error.strerror}",
            hint="run as root, or set paths.state",
        ) from error
    with file:
        if not _acquired(file):
            raise LockedError(
                f"another worker uses {state_directory}",
                hint="stop it first, or set another paths.state",
            )
        yield


def _acquired(file: TextIO) -> bool:
    """Take the lock; who asks whether a worker is alive holds it for a moment."""
    for _ in range(ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(BETWEEN)
        else:
            return True
    return False
