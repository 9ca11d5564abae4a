"""The stock images are what the builds assume of Ubuntu's, and they boot."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.devcloud.files import touch
from tests.devcloud.places import CHECKOUT
from tests.devcloud.stock import Layout

LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
EXTENDED_BOOT = "BC13C2FF-59E6-4262-A352-B275FD6F7172"

BOOT_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A stock image as a raw file, looked into without mounting it."""

    layout: Layout
    raw: Path
    partitions: dict[int, dict[str, Any]]
    """By number, as sfdisk describes them."""

    def offset(self, number: int) -> int:
        return int(self.partitions[number]["start"]) * 512

    def debugfs(self, request: str, *, partition: int = 1) -> str:
        done = subprocess.run(
            ["debugfs", "-R", request, f"{self.raw}?offset={self.offset(partition)}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "File not found" not in done.stderr, done.stderr
        return done.stdout

    def read(self, path: str, *, partition: int = 1) -> str:
        return self.debugfs(f"cat {path}", partition=partition)

    def names(self, directory: str, *, partition: int = 1) -> set[str]:
        listed = self.debugfs(f"ls -p {directory}", partition=partition).splitlines()
        return {line.split("/")[5] for line in listed if line} - {".", ".."}

    def tag(self, name: str, *, partition: int) -> str:
        done = subprocess.run(
            ["blkid", "-p", "-O", str(self.offset(partition)), "-s", name, "-o", "value", self.raw],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()


@pytest.fixture(scope="module", params=["noble", pytest.param("jammy", marks=pytest.mark.slow)])
def disk(
    request: pytest.FixtureRequest,
    stock_image: Callable[[Layout], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Disk:
    image = stock_image(request.param)
    raw = tmp_path_factory.mktemp("stock") / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-W", "-O", "raw", image, raw], check=True)
    done = subprocess.run(["sfdisk", "--json", raw], capture_output=True, check=True)
    table = json.loads(done.stdout)["partitiontable"]
    assert table["label"] == "gpt"
    numbered = {
        int(part["node"].removeprefix(str(raw)).lstrip("p")): part for part in table["partitions"]
    }
    return Disk(layout=request.param, raw=raw, partitions=numbered)


def test_partitions_are_those_of_the_series(disk: Disk) -> None:
    start_and_type = {
        number: (part["start"], part["type"]) for number, part in disk.partitions.items()
    }
    expected = {14: (2048, BIOS_BOOT), 15: (10240, ESP)}
    if disk.layout == "noble":
        expected |= {16: (227328, EXTENDED_BOOT), 1: (2099200, LINUX)}
    else:
        expected |= {1: (227328, LINUX)}
    assert start_and_type == expected
    last = max(disk.partitions, key=lambda number: disk.partitions[number]["start"])
    assert last == 1, "only the last partition can grow"
    virtual_size = {"jammy": 2252, "noble": 3584}[disk.layout] << 20
    assert disk.raw.stat().st_size == virtual_size


def test_filesystems_carry_ubuntu_s_labels_and_no_new_feature(disk: Disk) -> None:
    labels = {1: "cloudimg-rootfs", 15: "UEFI"} | ({16: "BOOT"} if disk.layout == "noble" else {})
    assert {number: disk.tag("LABEL", partition=number) for number in labels} == labels
    for number in set(labels) - {15}:
        features = disk.debugfs("features", partition=number)
        assert "metadata_csum" in features
        assert "orphan_file" not in features
        assert "metadata_csum_seed" not in features


def test_the_operating_system_is_the_series_counterpart(disk: Disk) -> None:
    counterpart = {"jammy": "bookworm", "noble": "trixie"}[disk.layout]
    assert f"VERSION_CODENAME={counterpart}\n" in disk.read("/usr/lib/os-release")
    sources = (
        disk.read("/etc/apt/sources.list.d/debian.sources")
        if disk.layout == "noble"
        else disk.read("/etc/apt/sources.list")
    )
    for suite in (counterpart, f"{counterpart}-updates", f"{counterpart}-security"):
        assert suite in sources
    assert "LABEL=cloudimg-rootfs" in disk.read("/etc/fstab")
    link = disk.debugfs("stat /etc/resolv.conf")
    assert "../run/systemd/resolve/stub-resolv.conf" in link


def test_nothing_of_the_host_or_of_the_making_stays(disk: Disk) -> None:
    assert disk.read("/etc/machine-id") == ""
    assert "99mmdebstrap" not in disk.names("/etc/apt/apt.conf.d")
    assert "99mmdebstrap" not in disk.names("/etc/dpkg/dpkg.cfg.d")
    assert "99-build.cfg" not in disk.names("/etc/default/grub.d")
    assert not any(name.startswith("ssh_host_") for name in disk.names("/etc/ssh"))
    assert disk.names("/var/lib/apt/lists") == set()
    assert disk.names("/tmp") == set()
    assert disk.names("/usr/local/share/ca-certificates") == set()


def test_the_manifest_lists_what_a_retrofit_trips_over(
    stock_image: Callable[[Layout], Path], disk: Disk
) -> None:
    listed = Path(f"{stock_image(disk.layout)}.manifest").read_text()
    packages = {line.split("\t")[0].split(":")[0] for line in listed.splitlines()}
    assert packages > {
        "cloud-init", "cryptsetup-initramfs", "grub-efi-amd64-signed", "grub-pc", "netplan.io",
        "openssh-server", "shim-signed", "systemd-resolved", "unattended-upgrades",
    }  # fmt: skip


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_making_leaves_nothing(how: signal.Signals, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.devcloud", "stock", "--layout", "noble", "--cache"]
    with subprocess.Popen(
        [*argv, tmp_path], cwd=CHECKOUT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as making:
        assert making.stderr is not None
        for line in making.stderr:
            if "packages of" in line:
                break
        time.sleep(3)
        assert list(tmp_path.glob(".stock-noble.*/disk.raw")), "it is in the middle of its work"
        making.send_signal(how)
        making.stderr.read()
    assert making.returncode not in (0, None)
    assert [path.name for path in tmp_path.iterdir()] == ["noble.lock"]
    backing = subprocess.run(
        ["losetup", "-n", "-l", "-O", "BACK-FILE"], capture_output=True, text=True, check=True
    )
    assert str(tmp_path) not in backing.stdout


def firmware_options(firmware: str, tmp_path: Path) -> list[str]:
    if firmware == "bios":
        return []
    # With Secure Boot enforced: the chain is shim and GRUB as Debian signed them.
    variables = tmp_path / "variables.fd"
    shutil.copyfile("/usr/share/OVMF/OVMF_VARS_4M.ms.fd", variables)
    code = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
    return [
        "-machine", "q35,smm=on",
        "-global", "driver=cfi.pflash01,property=secure,value=on",
        "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
        "-drive", f"if=pflash,format=raw,unit=1,file={variables}",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize("layout", ["jammy", "noble"])
def test_boots_to_a_login_prompt_even_when_touched(
    layout: Layout, firmware: str, stock_image: Callable[[Layout], Path], tmp_path: Path
) -> None:
    overlay = tmp_path / "disk.qcow2"
    backing = ["-F", "qcow2", "-b", stock_image(layout)]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, overlay], check=True)
    touch(overlay, "a newer serial")
    console = tmp_path / "console.log"
    argv = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1024",
        "-display", "none", "-serial", f"file:{console}", "-nic", "user,model=virtio-net-pci",
        "-drive", f"if=virtio,format=qcow2,file={overlay}",
        *firmware_options(firmware, tmp_path),
    ]  # fmt: skip
    deadline = time.monotonic() + BOOT_SECONDS
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as machine:
        try:
            while b"login: " not in (console.read_bytes() if console.exists() else b""):
                assert machine.poll() is None, "QEMU ended"
                assert time.monotonic() < deadline, console.read_text(errors="replace")[-2000:]
                time.sleep(0.5)
        finally:
            machine.kill()
