"""Disk and memory are asked for a whole run, and reserved: no other run counts on them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from retrofit.build import needs
from retrofit.config import BuildSettings, PathSettings, VerifySettings
from retrofit.errors import BuildError, VerifyError
from retrofit.produce.preflight import room
from retrofit.system.memory import Memory

MIB = 1 << 20
GIB = 1 << 30


def disk(monkeypatch: pytest.MonkeyPatch, **facts: int) -> None:
    known = {"f_bavail": 100, "f_frsize": MIB, "f_files": 5000, "f_favail": 4000}
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**{**known, **facts}))


class Asked(NamedTuple):
    """How a run asks for room: where, and with which settings."""

    paths: PathSettings
    verify: VerifySettings

    def room(self, name: str = "20261127T050000Z-000000") -> AbstractContextManager[room.Room]:
        return room.reserved_room(
            name,
            source=GIB,
            build=BuildSettings(),
            verify=self.verify,
            paths=self.paths,
            work=self.paths.work / name,
        )


def asked(tmp_path: Path, **verify: Any) -> Asked:
    paths = {name: tmp_path / name for name in ("state", "cache", "work", "logs")}
    return Asked(PathSettings(**paths), VerifySettings(**({"level": "offline"} | verify)))


def machine(monkeypatch: pytest.MonkeyPatch, *, free: int, memory: int) -> None:
    disk(monkeypatch, f_bavail=free // MIB)
    here = Memory(total=memory, available=memory)
    for module in (needs, room):
        monkeypatch.setattr(module, "memory", lambda: here)


def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, free: int, memory: int) -> None:
    machine(monkeypatch, free=free, memory=memory)
    with asked(tmp_path).room():
        pass


def test_room_is_asked_for_source_and_build_and_everything_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The source's file, its raw copy, what the build adds, the result: 1 + 1 + 3 + 2 GiB.
    kept = needs.LEAST_DOWNLOADS + 2 * needs.SMALL_FILES
    ask(tmp_path, monkeypatch, free=7 * GIB + kept, memory=64 * GIB)
    with pytest.raises(BuildError, match=r"this build needs 7\.1 GiB") as told:
        ask(tmp_path, monkeypatch, free=7 * GIB + kept - MIB, memory=64 * GIB)
    for name in ("work", "cache", "logs", "state"):
        assert f"paths.{name}" in (told.value.hint or "")


def test_without_memory_to_build_in_the_tree_needs_room_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BuildError, match=r"has 8\.0 GiB free, and this build needs 11\.1 GiB"):
        ask(tmp_path, monkeypatch, free=8 * GIB, memory=2 * GIB)
    ask(tmp_path, monkeypatch, free=12 * GIB, memory=2 * GIB)
    with pytest.raises(BuildError, match="1023 MiB of memory is available"):
        ask(tmp_path, monkeypatch, free=12 * GIB, memory=GIB - MIB)


def test_the_machine_of_the_trial_must_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, free=64 * GIB, memory=1279 * MIB)
    with (
        pytest.raises(VerifyError, match=r"1279 MiB of memory is available.* needs 1280 MiB"),
        asked(tmp_path, level="boot", memory=1024).room(),
    ):
        pass
    with asked(tmp_path, level="boot", memory=1023).room() as mine:
        assert mine.memory == 1279 * MIB


def test_memory_for_all_boots_is_reserved_where_there_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, free=64 * GIB, memory=2 * GIB + 512 * MIB)
    with asked(tmp_path, level="full", memory=1024).room() as mine:
        assert mine.memory == 2 * 1280 * MIB
    machine(monkeypatch, free=64 * GIB, memory=2 * GIB)
    with asked(tmp_path, level="full", memory=1024).room() as mine:
        assert mine.memory == 1280 * MIB


def test_memory_that_another_run_has_reserved_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, free=64 * GIB, memory=2 * GIB)
    one = asked(tmp_path, level="boot", memory=1024)
    with one.room("a"):
        with (
            pytest.raises(BuildError, match="768 MiB of memory is available besides") as told,
            one.room("b"),
        ):
            pass
        assert "worker.parallel" in (told.value.hint or "")
    with one.room("b"):
        pass


def test_a_boot_does_not_count_on_memory_that_another_run_has_reserved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, free=64 * GIB, memory=2 * GIB + 512 * MIB - MIB)
    one = asked(tmp_path, level="boot", memory=1024)
    with (
        one.room("a"),
        pytest.raises(VerifyError, match=r"1279 MiB .* besides the 1280 MiB"),
        one.room("b"),
    ):
        pass


def test_disk_that_another_run_has_reserved_is_not_there_but_for_what_it_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = needs.LEAST_DOWNLOADS + 2 * needs.SMALL_FILES
    # Two need the double; one that has written a GiB needs that no more.
    machine(monkeypatch, free=13 * GIB + 2 * kept, memory=64 * GIB)
    one = asked(tmp_path)
    with one.room("a"):
        with (
            pytest.raises(BuildError, match=r"besides the 7\.1 GiB that other runs have reserved"),
            one.room("b"),
        ):
            pass
        written = one.paths.work / "a" / "disk"
        written.parent.mkdir(parents=True)
        with written.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 64 * MIB)
        machine(monkeypatch, free=14 * GIB - 64 * MIB + 2 * kept, memory=64 * GIB)
        with one.room("b"):
            pass


def test_the_measured_disk_of_a_compressed_source_is_built_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, free=64 * GIB, memory=64 * GIB)
    measured = needs.needs_for(source=3 * GIB, output_copy=True)
    with asked(tmp_path).room() as mine:
        assert mine.memory == (1 + 3 + 1) * GIB
        assert mine.renew(measured)
        assert mine.memory == (1 + 3 + 3) * GIB


def test_a_renewed_reservation_is_what_others_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, free=64 * GIB, memory=16 * GIB)
    one = asked(tmp_path)
    with one.room("a") as mine:
        fetched = one.paths.work / "a" / "source"
        fetched.parent.mkdir(parents=True)
        with fetched.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 64 * MIB)
        assert mine.renew(needs.needs_for(source=3 * GIB, output_copy=True))
        # The source's file is written: what counts is the build, 3 + 3 + 3 GiB.
        kept = needs.LEAST_DOWNLOADS + 2 * needs.SMALL_FILES
        assert mine.total == (7 + 9) * GIB + kept + 64 * MIB
        machine(monkeypatch, free=64 * GIB, memory=8 * GIB - MIB)
        with (
            pytest.raises(BuildError, match=r"besides the 7\.0 GiB that other runs have reserved"),
            one.room("b"),
        ):
            pass


def test_a_tree_that_turns_out_too_large_for_memory_needs_room_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, free=64 * GIB, memory=6 * GIB)
    monkeypatch.setattr(needs, "memory", lambda: Memory(total=64 * GIB, available=6 * GIB))
    measured = needs.needs_for(source=3 * GIB, output_copy=True)
    with asked(tmp_path).room() as mine:
        assert not mine.renew(measured)
        disk(monkeypatch, f_bavail=15 * GIB // MIB)
        before = mine.total
        with pytest.raises(BuildError, match=r"has 15\.0 GiB free, and this build needs 15\.1 GiB"):
            mine.renew(measured)
        assert mine.total == before


def test_memory_that_a_run_has_reserved_stays_its_own_when_others_use_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, free=64 * GIB, memory=16 * GIB)
    one = asked(tmp_path)
    with one.room("a"), one.room("b") as mine:
        # The other's tmpfs is full now: 5 GiB are used, and reserved as well.
        machine(monkeypatch, free=64 * GIB, memory=5 * GIB)
        assert not mine.renew(needs.needs_for(source=3 * GIB, output_copy=True))


def test_a_reservation_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, free=64 * GIB, memory=64 * GIB)
    one = asked(tmp_path)
    one.paths.state.mkdir()
    (one.paths.state / "reservations").touch()
    with pytest.raises(BuildError, match="cannot reserve room in"), one.room():
        pass
