"""Settings of `[paths]`."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from retrofit.config.files import AbsolutePath, a_plain_path
from retrofit.config.numbers import Within
from retrofit.config.section import Section

ROOT = Path("/")
_SHARED = (
    "bin boot dev dev/shm etc home lib lib32 lib64 opt proc root run run/lock sbin sys tmp usr"
    " usr/local var var/backups var/cache var/lib var/lib/dpkg var/lock var/log var/mail var/opt"
    " var/run var/spool var/tmp"
)
SYSTEM = frozenset({ROOT, *(ROOT / name for name in _SHARED.split())})
"""Directories that a system has for many programs (hier(7)): none is one program's alone."""
SYSTEM_TREES = tuple(
    ROOT / name for name in ("bin", "boot", "dev", "lib", "lib32", "lib64", "proc", "sbin", "sys")
)
"""Nothing below these is for data, but for memory that is mounted in SHARED_MEMORY."""
SHARED_MEMORY = ROOT / "dev" / "shm"


def _no_system_directory(path: Path) -> Path:
    real = path.resolve()
    below = any(real.is_relative_to(tree) for tree in SYSTEM_TREES)
    if real in SYSTEM or path in SYSTEM or (below and not real.is_relative_to(SHARED_MEMORY)):
        raise ValueError(f"{real} is a directory of the system; retrofit needs one of its own")
    return path


OwnDirectory = Annotated[
    AbsolutePath, AfterValidator(a_plain_path), AfterValidator(_no_system_directory)
]


class PathSettings(Section):
    """Directories on this machine. They may be deleted between runs: no image is lost by that."""

    state: OwnDirectory = Field(
        Path("/var/lib/retrofit"),
        description="Directory of locks, run history, failed builds, local pauses and"
        " undelivered notifications.",
    )
    cache: OwnDirectory = Field(
        Path("/var/cache/retrofit"),
        description="Directory of downloaded packages and source images.",
    )
    work: OwnDirectory = Field(
        Path("/var/lib/retrofit/work"),
        description="Directory of disks during a build; needs about 10 GiB. Leftovers of dead"
        " runs are cleaned up.",
    )
    logs: OwnDirectory = Field(
        Path("/var/log/retrofit"),
        description="Directory with a subdirectory of report and logs for each run.",
    )
    keep_logs: Annotated[int, Within(1, 100_000)] = Field(
        50, description="Number of runs whose logs are kept."
    )

    @model_validator(mode="after")
    def _one_purpose_each(self) -> Self:
        """Refuse equal and nested directories: what is cleaned up in one is kept in the other."""
        directories = {
            name: getattr(self, name).resolve() for name in ("state", "cache", "work", "logs")
        }
        for (one, path), (other, second) in combinations(directories.items(), 2):
            if path == second:
                raise ValueError(f"{one} and {other} are the same directory, {path}")
            for (inner, below), (outer, above) in (
                ((one, path), (other, second)),
                ((other, second), (one, path)),
            ):
                if below.is_relative_to(above) and (inner, outer) != ("work", "state"):
                    raise ValueError(
                        f"{inner} ({below}) lies in {outer} ({above}); only work may lie in state"
                    )
        return self
