"""The directories of a machine: ours alone, as they hold disks, logs and what is remembered."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

MODE = 0o750
"""As the systemd units make them: the group may read. Images hold setuid programs and devices."""


def make_places(*places: Path) -> None:
    """Make those that are missing; whoever needs one says what failed.

    One that is there keeps the mode that somebody gave it.
    """
    for place in places:
        with suppress(OSError):
            place.mkdir(mode=MODE, parents=True)
