"""Memory that this process and its children may still take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The machine's memory, and what is left of it for this process, in bytes."""

    total: int
    available: int


def memory() -> Memory:
    """Return what the kernel and our control groups report."""
    fields = dict(
        line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line
    )
    total, available = (int(fields[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    return Memory(total=total, available=min((available, *_left_in_groups())))


def _left_in_groups() -> Iterator[int]:
    """Yield what is left in each control group with a limit (cgroup v2), the inner one first."""
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
    except OSError:
        return
    inner = GROUPS / group.lstrip("/")
    for directory in (inner, *inner.parents):
        if not directory.is_relative_to(GROUPS):
            return
        try:
            limit = (directory / "memory.max").read_text().strip()
            used = int((directory / "memory.current").read_text())
            if limit != "max":
                yield max(0, int(limit) - used)
        except (OSError, ValueError):
            continue
