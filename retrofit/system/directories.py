"""Our directories on a machine: they hold disks, logs and records, so others cannot read them."""

from __future__ import annotations

from pathlib import Path

MODE = 0o750
"""As the systemd units make them: the group may read. Images hold setuid programs and devices."""


def make_directory(path: Path) -> None:
    """Make a directory and its parents, all with our mode. Raises OSError.

    An existing directory keeps its mode. `mkdir` alone would make them as the umask has it, and
    whatever runs first on a new machine would decide for all that follow.
    """
    if path.is_dir():
        return
    make_directory(path.parent)
    try:
        path.mkdir(mode=MODE)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(MODE)
