"""Commands that need root."""

from __future__ import annotations

import os
from pathlib import Path


def as_root(*argv: str | Path) -> list[str | Path]:
    """Return `argv` as a command that runs as root: by sudo, without a password, where we are not.

    Without the right to that, sudo fails at once and asks nobody.
    """
    return [*(() if os.geteuid() == 0 else ("sudo", "-n")), *argv]
