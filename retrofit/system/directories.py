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
            make_place(place)


def make_place(place: Path) -> None:
    """Make a directory where it is missing, and those above it. Raises OSError.

    Whoever comes first to a new machine decides how these look, and `mkdir(parents=True)` makes
    those above as the umask has it.
    """
    if place.is_dir():
        return
    make_place(place.parent)
    place.mkdir(mode=MODE, exist_ok=True)
