"""The disk of a machine after a power cut."""

from __future__ import annotations

import mmap
from pathlib import Path

from retrofit.verify.checks import CheckFailedError, NotApplicableError


def certificates_gone(overlay: Path, *, secret: bytes, control: bytes) -> str:
    """Search what was written to the disk for a private key (PEM) that must not be there.

    A key that was never written is not there after a power cycle. `control`, a key that cloud-init
    stores on the disk, shows that the search finds keys. An overlay's clusters are neither
    compressed nor smaller than a filesystem's blocks, so that a line of PEM is found in one piece.
    """
    with (
        overlay.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as disk,
    ):
        if disk.find(_first_line(control)) < 0:
            raise NotApplicableError("the key that is meant to be on the disk was not found either")
        if disk.find(_first_line(secret)) >= 0:
            raise CheckFailedError("the load balancer's private key is on the disk")
    return f"not on the disk ({overlay.stat().st_size >> 20} MiB written)"


def _first_line(pem: bytes) -> bytes:
    """Return the first line of a PEM file's content."""
    return pem.splitlines()[1]
