"""Whether KVM works is tried by QEMU itself: a device file alone starts no machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retrofit.config import VerifySettings
from retrofit.errors import VerifyError
from retrofit.produce.preflight.tries import DoubtError
from retrofit.produce.preflight.verification import try_kvm
from retrofit.verify.boot import kvm
from retrofit.verify.boot.kvm import accelerators
from retrofit.verify.boot.machine import PLATFORMS

NO_MODULE = (
    "qemu: Could not access KVM kernel module: No such device\n"
    "qemu: failed to initialize kvm: No such device\n"
)


def emulator(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program in the place of QEMU's, and a KVM beside it."""
    for name in ("qemu-system-x86_64", "qemu-system-aarch64"):
        (directory / name).write_text(f"#!/bin/bash\n{script}\n")
        (directory / name).chmod(0o755)
    (directory / "kvm").touch()
    monkeypatch.setattr(kvm, "DEVICE", directory / "kvm")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_one_that_does_not_work_fails_where_it_has_to_and_else_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    emulator(tmp_path, monkeypatch, f"printf '%s' '{NO_MODULE}' >&2; exit 1")
    with pytest.raises(VerifyError, match="is there and does not work: Could not access") as told:
        try_kvm(VerifySettings(accelerator="kvm"), architecture)
    assert "kvm_intel" in (told.value.hint or "")
    assert "verify.accelerator = auto" in (told.value.hint or "")
    with pytest.raises(DoubtError, match="booted in emulation"):
        try_kvm(VerifySettings(accelerator="auto"), architecture)


def test_one_whose_processors_never_run_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvm, "LIMIT", 0.5)
    emulator(tmp_path, monkeypatch, "exec sleep 60")
    with pytest.raises(VerifyError, match=r"did not finish within 0\.5 s"):
        try_kvm(VerifySettings(accelerator="kvm"), "x86_64")


def bios(virtualized: float, emulated: float) -> str:
    """A script in QEMU's place whose BIOS needs some seconds to find nothing to boot."""
    return f"""
wait={emulated}
for word; do
    case $word in *accel=kvm) wait={virtualized};; esac
done
echo SeaBIOS
sleep $wait
echo "No bootable device."
exec sleep 60
"""


@pytest.mark.parametrize(("virtualized", "emulated"), [(0.1, 0.1), (1.5, 2)])
def test_a_bios_that_comes_to_its_end_is_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, virtualized: float, emulated: float
) -> None:
    emulator(tmp_path, monkeypatch, bios(virtualized, emulated))
    assert try_kvm(VerifySettings(accelerator="kvm"), "x86_64") == "a machine starts on it"


def test_one_that_is_slower_than_emulation_is_doubted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator(tmp_path, monkeypatch, bios(1.5, 0.1))
    with pytest.raises(DoubtError, match=r"slower than emulation: its BIOS takes 1\.\d s"):
        try_kvm(VerifySettings(accelerator="kvm"), "x86_64")


def test_a_bios_that_only_begins_is_no_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvm, "LIMIT", 0.5)
    emulator(tmp_path, monkeypatch, bios(60, 60))
    with pytest.raises(DoubtError, match=r"did not finish within 0\.5 s"):
        try_kvm(VerifySettings(), "x86_64")


def test_a_killed_try_takes_its_machine_along(tmp_path: Path) -> None:
    (tmp_path / "qemu-system-x86_64").write_text(
        f"#!/bin/bash\necho $$ > {tmp_path}/pid.new && mv {tmp_path}/pid.new {tmp_path}/pid\n"
        "exec sleep 60\n"
    )
    (tmp_path / "qemu-system-x86_64").chmod(0o755)
    program = (
        "from retrofit.verify.boot import kvm\n"
        "from retrofit.verify.boot.machine import platform_of\n"
        "kvm.start(platform_of('x86_64'))\n"
    )
    trying = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    with trying:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists():
            assert time.monotonic() < deadline
            assert trying.poll() is None
            time.sleep(0.05)
        machine = Path("/proc", (tmp_path / "pid").read_text().strip())
        assert machine.exists()
        trying.kill()
    while machine.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "settings", [VerifySettings(level="offline"), VerifySettings(accelerator="tcg")]
)
def test_nothing_is_tried_that_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: VerifySettings
) -> None:
    emulator(tmp_path, monkeypatch, "exit 1")
    assert try_kvm(settings, "x86_64").startswith("not needed")


def test_a_machine_without_kvm_emulates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm, "DEVICE", tmp_path / "kvm")
    assert "emulation" in try_kvm(VerifySettings(), "x86_64")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (f"printf '%s' '{NO_MODULE}' >&2; exit 1", "Could not access KVM kernel module"),
        (bios(1.5, 0.1), "its BIOS takes 1."),
    ],
)
def test_a_boot_does_not_wait_for_one_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    emulator(tmp_path, monkeypatch, script)
    order, notes = accelerators("auto", PLATFORMS["x86_64"])
    assert order == ("tcg",)
    assert [note.startswith(f"KVM was tried: {why}") for note in notes] == [True]


def test_emulation_is_the_last_resort_of_auto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator(tmp_path, monkeypatch, bios(0.1, 0.1))
    assert accelerators("auto", PLATFORMS["x86_64"]) == (("kvm", "tcg"), [])


@pytest.mark.parametrize("setting", ["kvm", "tcg"])
def test_an_accelerator_that_was_asked_for_is_the_only_one_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    emulator(tmp_path, monkeypatch, "exit 1")
    assert accelerators(setting, PLATFORMS["x86_64"]) == ((setting,), [])


@pytest.mark.parametrize(("setting", "tried"), [("kvm", "kvm"), ("tcg", "tcg"), ("auto", "tcg")])
def test_a_boot_says_that_there_is_no_kvm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, tried: str
) -> None:
    monkeypatch.setattr(kvm, "DEVICE", tmp_path / "kvm")
    notes = [f"{tmp_path}/kvm does not exist"]
    assert accelerators(setting, PLATFORMS["x86_64"]) == ((tried,), notes)
