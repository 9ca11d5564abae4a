"""Whether a machine can build is asked of the machine, and what it lacks is said."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from retrofit.errors import BuildError
from retrofit.produce.preflight import machine
from retrofit.produce.preflight.machine import check_loop_devices, require_runnable

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
    monkeypatch.setattr(machine, "BINFMT", tmp_path)
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
    if not list(machine.BINFMT.glob("qemu-*")):
        with pytest.raises(BuildError):
            require_runnable(FOREIGN)


class TestLoopDevices:
    def test_need_the_kernels_module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "LOOP_CONTROL", tmp_path / "loop-control")
        with pytest.raises(BuildError, match="loop-control is missing") as told:
            check_loop_devices()
        assert "modprobe loop" in (told.value.hint or "")

    def test_need_a_kernel_that_gives_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(machine, "LOOP_CONTROL", tmp_path)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        with pytest.raises(BuildError, match="cannot get a loop device here"):
            check_loop_devices()

    def test_need_their_nodes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "LOOP_CONTROL", tmp_path)
        monkeypatch.setattr(machine, "_free_loop_device", lambda: tmp_path / "loop9")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        with pytest.raises(BuildError, match=r"loop9") as told:
            check_loop_devices()
        assert "/dev" in (told.value.hint or "")

    @pytest.mark.parametrize(("free", "enough"), [(3, True), (2, False)])
    def test_must_be_enough_where_no_nodes_are_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, enough: bool
    ) -> None:
        monkeypatch.setattr(machine, "LOOP_CONTROL", tmp_path)
        monkeypatch.setattr(machine, "_free_loop_device", lambda: Path(os.devnull))
        monkeypatch.setattr(machine, "_kernel_makes_nodes", lambda: False)
        nodes = [Path(f"/dev/loop{number}") for number in range(5)]
        monkeypatch.setattr(Path, "glob", lambda *_: iter(nodes))
        monkeypatch.setattr(machine, "_is_free", lambda node: node in nodes[:free])
        if enough:
            check_loop_devices()
            return
        with pytest.raises(BuildError, match="2 loop devices are free here, and a build needs 3"):
            check_loop_devices()


def test_missing_tools_are_named_with_their_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk-image-create").touch()
    monkeypatch.setattr(machine, "SYSTEM_PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"cannot build without qemu-img, mkfs\.ext4") as caught:
        machine.check_tools(tmp_path)
    assert "apt-get install" in (caught.value.hint or "")
    assert "qemu-utils" in (caught.value.hint or "")


def test_missing_disk_image_create_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no disk-image-create in"):
        machine.check_tools(tmp_path)
