"""Whether a file is ours to obey: a configuration names programs to run, and where passwords go."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from retrofit.errors import ConfigError


def require_trustworthy(path: Path, status: os.stat_result) -> None:
    """Raise ConfigError for a file that others may change, given what fstat says of it.

    Whoever called sudo may keep it as their own; what is no regular file (/dev/stdin) was meant.
    """
    if not stat.S_ISREG(status.st_mode):
        return
    writers = []
    if status.st_mode & stat.S_IWOTH:
        writers.append("everybody may write to it")
    if os.geteuid() == 0:
        called_by = os.environ.get("SUDO_UID", "")
        if status.st_uid != 0 and str(status.st_uid) != called_by:
            writers.append(f"it belongs to user {status.st_uid}")
        if status.st_mode & stat.S_IWGRP and status.st_gid != 0:
            writers.append(f"group {status.st_gid} may write to it")
    if writers:
        raise ConfigError(
            f"{path} is not trusted: {', and '.join(writers)}",
            hint=f"chown root:root {path}; chmod go-w {path}",
        )
