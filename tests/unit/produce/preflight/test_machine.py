"""Whether a machine can build is asked of the machine, and what it lacks is said."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest

from retrofit.config import BuildSettings, PathSettings
from retrofit.dib import preflight
from retrofit.dib.preflight import (
    Place,
    check_loop_devices,
    check_room,
    require_machine,
    require_runnable,
)
from retrofit.errors import BuildError
from retrofit.memory import Memory

MIB = 1 << 20
GIB = 1 << 30

FOREIGN = "aarch64" if platform.machine() != "aarch64" else "x86_64"
REGISTERED = """\
enabled
interpreter /usr/libexec/qemu-binfmt/it
flags: {flags}
offset 0
magic 7f454c46
"""


@pytest.fixture
def binfmt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(preflight, "BINFMT", tmp_path)
    return tmp_path


def test_this_machine_runs_its_own_programs(binfmt: Path) -> None:
    require_runnable(platform.machine())


def test_another_architecture_is_refused_with_the_way_out(binfmt: Path) -> None:
    with pytest.raises(BuildError, match=f"cannot run programs of {FOREIGN}") as refused:
        require_runnable(FOREIGN)
    assert platform.machine() in refused.value.message
    assert "qemu-user-static" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("content", "runs"),
    [
        (REGISTERED.format(flags="F"), True),
        (REGISTERED.format(flags="OCF"), True),
        (REGISTERED.format(flags="OC"), False),  # not found within a chroot
        (REGISTERED.format(flags=""), False),
        (REGISTERED.format(flags="F").replace("enabled", "disabled"), False),
        ("", False),
    ],
)
def test_an_emulator_counts_when_it_works_in_a_chroot_too(
    binfmt: Path, content: str, runs: bool
) -> None:
    (binfmt / f"qemu-{FOREIGN}").write_text(content)
    if runs:
        require_runnable(FOREIGN)
        return
    with pytest.raises(BuildError):
        require_runnable(FOREIGN)


def test_knows_what_qemu_calls_32_bit_arm(binfmt: Path) -> None:
    (binfmt / "qemu-arm").write_text(REGISTERED.format(flags="F"))
    require_runnable("armv7l")


def test_this_machine_without_an_emulator_refuses_a_foreign_architecture() -> None:
    if not list(preflight.BINFMT.glob("qemu-*")):
        with pytest.raises(BuildError):
            require_runnable(FOREIGN)


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
    message = "has room for 999 more files, and a run makes 1000"
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


def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, free: int, memory: int) -> None:
    disk(monkeypatch, f_bavail=free // MIB)
    monkeypatch.setattr(preflight, "check_abilities", lambda _: None)
    here = Memory(total=memory, available=memory)
    monkeypatch.setattr(preflight, "memory", lambda: here)
    paths = {name: tmp_path / name for name in ("state", "cache", "work", "logs")}
    require_machine(
        platform.machine(),
        source=GIB,
        settings=BuildSettings(),
        paths=PathSettings(**paths),
    )


def test_room_is_asked_for_source_and_build_and_everything_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The source's file, its raw copy, what the build adds, the result: 1 + 1 + 3 + 2 GiB.
    kept = preflight.DOWNLOADS + 2 * preflight.LITTLE
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


class TestLoopDevices:
    def test_of_this_machine_are_enough(self) -> None:
        if not preflight.LOOP_CONTROL.exists():
            pytest.skip("this machine has no loop devices")
        check_loop_devices()

    def test_need_the_kernels_module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preflight, "LOOP_CONTROL", tmp_path / "loop-control")
        with pytest.raises(BuildError, match="loop-control is missing") as told:
            check_loop_devices()
        assert "modprobe loop" in (told.value.hint or "")

    def test_need_a_kernel_that_gives_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(preflight, "LOOP_CONTROL", tmp_path)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        with pytest.raises(BuildError, match="no loop device can be had here"):
            check_loop_devices()

    def test_need_their_nodes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preflight, "LOOP_CONTROL", tmp_path)
        monkeypatch.setattr(preflight, "_free_loop_device", lambda: tmp_path / "loop9")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        with pytest.raises(BuildError, match=r"loop9") as told:
            check_loop_devices()
        assert "/dev" in (told.value.hint or "")

    @pytest.mark.parametrize(("free", "enough"), [(3, True), (2, False)])
    def test_must_be_enough_where_no_nodes_are_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, enough: bool
    ) -> None:
        monkeypatch.setattr(preflight, "LOOP_CONTROL", tmp_path)
        monkeypatch.setattr(preflight, "_free_loop_device", lambda: Path(os.devnull))
        monkeypatch.setattr(preflight, "_kernel_makes_nodes", lambda: False)
        nodes = [Path(f"/dev/loop{number}") for number in range(5)]
        monkeypatch.setattr(Path, "glob", lambda *_: iter(nodes))
        monkeypatch.setattr(preflight, "_is_free", lambda node: node in nodes[:free])
        if enough:
            check_loop_devices()
            return
        with pytest.raises(BuildError, match="2 loop devices are free here, and a build needs 3"):
            check_loop_devices()
