"""What a build needs of its machine: room and memory, each named when it lacks."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from retrofit.build import needs
from retrofit.build.needs import Place, check_room
from retrofit.errors import BuildError
from retrofit.system.memory import Memory

MIB = 1 << 20
GIB = 1 << 30


def test_too_little_disk_space_names_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"GiB free, and this build needs 1048576\.0 GiB") as e:
        needs.check_disk_space(tmp_path, 1 << 50)
    assert "paths.work" in (e.value.hint or "")
    needs.check_disk_space(tmp_path, 1)


def memory(monkeypatch: pytest.MonkeyPatch, total: int, available: int) -> None:
    here = Memory(total=total << 30, available=available << 30)
    monkeypatch.setattr(needs, "memory", lambda: here)


def test_memory_decides_where_to_build(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = needs.Needs(disk=0, tmpfs=4 << 30)
    memory(monkeypatch, 16, 6)
    assert needs.choose_tmpfs(wanted, wanted=True)
    assert not needs.choose_tmpfs(wanted, wanted=False)
    memory(monkeypatch, 7, 6)  # a tmpfs takes at most half of it
    assert not needs.choose_tmpfs(wanted, wanted=True)
    memory(monkeypatch, 16, 4)
    assert not needs.choose_tmpfs(wanted, wanted=True)
    memory(monkeypatch, 16, 0)
    with pytest.raises(BuildError, match=r"0 MiB of memory is available.*needs 1\.0 GiB"):
        needs.choose_tmpfs(wanted, wanted=True)


def disk(monkeypatch: pytest.MonkeyPatch, **facts: int) -> None:
    known = {"f_bavail": 100, "f_frsize": MIB, "f_files": 5000, "f_favail": 4000}
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**{**known, **facts}))


def place(path: Path, needed: int, name: str = "work") -> Place:
    return Place(setting=f"paths.{name}", path=path, needed=needed)


def test_places_on_one_filesystem_need_room_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch)
    work, logs = tmp_path / "not" / "made" / "yet", tmp_path
    check_room([place(work, 60 * MIB), place(logs, 40 * MIB, "logs")])
    with pytest.raises(BuildError, match="has 100 MiB free, and this build needs 101 MiB") as told:
        check_room([place(work, 61 * MIB), place(logs, 40 * MIB, "logs")])
    assert "paths.work and paths.logs" in (told.value.hint or "")
    # Another filesystem, whose hundred free blocks count for itself.
    check_room([place(work, 61 * MIB), place(Path("/dev/shm"), 40 * MIB, "logs")])


def test_space_alone_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, f_favail=999)
    message = "has room for 999 more files, and a run needs 1000"
    with pytest.raises(BuildError, match=message):
        check_room([place(tmp_path, MIB)])
    disk(monkeypatch)
    # A filesystem on which nobody makes a file, whatever it says of its space.
    with pytest.raises(BuildError, match=r"/proc cannot be written to: ") as told:
        check_room([place(tmp_path, MIB), place(Path("/proc/nowhere"), MIB, "logs")])
    assert "paths.logs" in (told.value.hint or "")


def test_a_filesystem_that_counts_no_files_has_room_for_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, f_files=0, f_favail=0)
    check_room([place(tmp_path, MIB)])
