"""The arguments of a build, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from retrofit.build.needs import Needs
from retrofit.build.recipe import Recipe
from retrofit.config import BuildSettings
from retrofit.model import BuiltImage
from retrofit.system.progress import Progress, silent


class Reserve(Protocol):
    """Anything that reserves the needs of a build among those of other runs."""

    def __call__(self, needs: Needs, /) -> bool:
        """Return True to build in memory. Raises BuildError where there is too little."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """One image to build: its source file, recipe, settings and directories.

    `source_format` is the format in the source's record, `qcow2` or `raw`, None without a record.
    `expected_os` is distribution and version, `("ubuntu", "24.04")`; `architecture` is
    Glance's word. Output of the build's programs is appended to `log_file`; `reported_log` is the
    file that errors name instead, where the log is moved afterwards. `reserve` reserves what the
    source's disk turns out to need, as `Reserve` has it; None where nothing is reserved.
    """

    source: Path
    recipe: Recipe
    settings: BuildSettings
    work_dir: Path
    cache_dir: Path
    log_file: Path
    reported_log: Path | None = None
    source_format: str | None = None
    expected_os: tuple[str, str] | None = None
    allow_os_mismatch: bool = False
    architecture: str = "x86_64"
    reserve: Reserve | None = None
    progress: Progress = silent


class Build(Protocol):
    """Anything that makes an amphora image of a request: `build.build`, and a double in tests."""

    def __call__(self, request: BuildRequest, /) -> BuiltImage:
        """Return the built image. Raises SourceError and BuildError."""
