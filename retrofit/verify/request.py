"""The arguments of a verification, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from retrofit.config import BuildSettings, VerifySettings
from retrofit.control_plane.expectation import Expectation
from retrofit.model import Verdict
from retrofit.system.progress import Progress


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """One image to verify: how, and where to work.

    `build` are the settings it was built with: they decide which agent and whether sshd is in it.
    `architecture` is Glance's word. `work_dir` is deleted at the end; `log_dir` keeps the evidence.
    """

    image: Path
    disk_format: str
    settings: VerifySettings
    build: BuildSettings
    architecture: str
    work_dir: Path
    log_dir: Path
    progress: Progress
    only: tuple[str, ...] = ()
    """Names of the checks to make, with what they need; all of the level when empty."""
    control_plane: Expectation | None = None
    """What the image will meet; None where nothing is asked of it."""
    memory: int | None = None
    """Bytes that are reserved for the boots; None where nothing is."""


class Verify(Protocol):
    """Anything that judges an image: `verify.verify`, and a double in tests."""

    def __call__(self, request: VerifyRequest, /) -> Verdict:
        """Return the verdict; VerifyError means that this machine cannot verify."""
