"""Who does something, and from where: written into reports, on images and into pauses."""

from __future__ import annotations

import getpass
import os
import socket


def this_person() -> str:
    """Return the person at this terminal, or the account of this process, with the host's name."""
    return at_this_host(os.environ.get("SUDO_USER") or _account())


def at_this_host(who: str) -> str:
    """Return a name with that of this host."""
    return f"{who}@{socket.gethostname()}"


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"uid-{os.getuid()}"
