"""What memory is left for us: the machine's, or what the groups leave that we are in."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.system import memory as module
from retrofit.system.memory import memory

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GiB of which 6 are left, and us in the group a/b."""
    meminfo = "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 6291456 kB\nHugePages: 0\n"
    said = {"/proc/meminfo": meminfo, "/proc/self/cgroup": "4:memory:/x\n0::/a/b\n"}
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path: said.get(str(path)) or read(path))
    monkeypatch.setattr(module, "GROUPS", tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    return tmp_path


def limit(group: Path, most: str, used: int) -> None:
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{used}\n")


def test_is_the_machines_where_no_group_is_limited(machine: Path) -> None:
    limit(machine / "a" / "b", "max", GIB)
    assert (memory().total, memory().available) == (8 * GIB, 6 * GIB)


def test_is_what_the_tightest_group_leaves(machine: Path) -> None:
    limit(machine / "a" / "b", str(4 * GIB), GIB)
    assert memory().available == 3 * GIB
    limit(machine / "a", str(3 * GIB), 2 * GIB)
    assert memory().available == GIB
    limit(machine / "a", str(GIB), 2 * GIB)
    assert memory().available == 0


def test_groups_that_say_nothing_limit_nothing(machine: Path) -> None:
    (machine / "a" / "b" / "memory.max").write_text("much")
    assert memory().available == 6 * GIB
