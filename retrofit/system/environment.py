"""The environment of programs that read what nobody vouches for: nothing of ours is in it."""

from __future__ import annotations

import os


def bare_environment() -> dict[str, str]:
    """Return what QEMU and qemu-img need: our own may hold a cloud's password (OS_PASSWORD)."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
