"""What is examined, how, and where to work: handed from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retrofit.config import BuildSettings, VerifySettings
from retrofit.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Examination:
    """One image on its way through verification.

    `build` are the settings it was built with: they say which agent it has, and whether sshd.
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
