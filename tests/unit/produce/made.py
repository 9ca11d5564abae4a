"""The run of a target, for what one of its steps does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retrofit.config import PathSettings, Settings, Target
from retrofit.produce.run import Run
from retrofit.produce.shared_builds import SharedBuilds
from retrofit.runs.report import RunReport
from retrofit.system.progress import silent


def made_run(directory: Path) -> Run:
    """Return the run of a target with default settings, whose directories are in one of a test's.

    It has neither recipe nor programs to build and verify.
    """
    target = Target()
    paths = {name: directory / name for name in ("state", "cache", "work", "logs")}
    (paths["work"] / target.name).mkdir(parents=True)
    unused: Any = None
    return Run(
        target=target,
        settings=Settings(targets=(target,), paths=PathSettings(**paths)),
        recipe=unused,
        report=RunReport(run_id="run", target=target.name, log_dir=paths["logs"]),
        progress=silent,
        build=unused,
        verify=unused,
        shared=SharedBuilds(),
    )
