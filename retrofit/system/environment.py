"""The environment of programs that read untrusted files: nothing of ours is in it."""

from __future__ import annotations

import os


def minimal_environment() -> dict[str, str]:
    """Return what QEMU and qemu-img need: ours may hold a cloud's password (OS_PASSWORD)."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
