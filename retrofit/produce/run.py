"""One run of one target: what its long part works with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retrofit.build.recipe import Recipe
from retrofit.build.request import Build
from retrofit.config import Settings, Target
from retrofit.produce.shared_builds import SharedBuilds
from retrofit.runs.report import RunReport
from retrofit.system.progress import Progress
from retrofit.verify.request import Verify


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one target: where it works, and what it works with."""

    target: Target
    settings: Settings
    recipe: Recipe
    report: RunReport
    progress: Progress
    build: Build
    verify: Verify
    shared: SharedBuilds

    @property
    def work_root(self) -> Path:
        """Return the directory under which only runs of this target work, one at a time."""
        return self.settings.paths.work / self.target.name
