"""Small disks in the layout of stock images, made with the real tools and without mounting."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

MIB = 1024 * 1024
ROOT_UUID = "11111111-2222-4333-8444-555555555555"
BOOT_UUID = "99999999-2222-4333-8444-555555555555"
UBUNTU = 'ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nNAME="Ubuntu"\n'


def run(*argv: str | Path, stdin: str = "") -> str:
    done = subprocess.run(
        [str(word) for word in argv], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def ext4(
    path: Path,
    size: int,
    *,
    label: str = "cloudimg-rootfs",
    uuid: str = ROOT_UUID,
    files: Mapping[str, str | bytes] | None = None,
    options: tuple[str, ...] = (),
) -> Path:
    """Make a filesystem image of `size` bytes that holds `files`."""
    tree = path.with_name(f"{path.name}.tree")
    for name, content in (files or {}).items():
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    tree.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    run("mkfs.ext4", "-q", "-F", "-L", label, "-U", uuid, "-d", tree, *options, path)
    return path


def write_at(disk: Path, offset: int, content: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def put(part: Path, disk: Path, offset: int) -> None:
    """Copy a filesystem to its place on a disk; what nobody has written to stays a hole."""
    place = (f"if={part}", f"of={disk}", f"seek={offset}", "oflag=seek_bytes", "bs=1M")
    run("dd", *place, "conv=sparse,notrunc", "status=none")
    part.unlink()


def gpt(disk: Path, size: int, script: str) -> Path:
    """Make a disk of `size` bytes with the partitions of an sfdisk `script`."""
    with disk.open("wb") as file:
        file.truncate(size)
    run("sfdisk", "--quiet", disk, stdin=f"label: gpt\n{script}")
    return disk


JAMMY = """\
1 : start=24576, type=linux, name="root"
14 : start=2048, size=8192, type=21686148-6449-6E6F-744E-656564454649
15 : start=10240, size=14336, type=uefi
"""
NOBLE = """\
1 : start=57344, type=linux
14 : start=2048, size=8192, type=21686148-6449-6E6F-744E-656564454649
15 : start=10240, size=14336, type=uefi
16 : start=24576, size=32768, type=BC13C2FF-59E6-4262-A352-B275FD6F7172
"""


def jammy(
    disk: Path,
    *,
    size: int = 64 * MIB,
    os_release: str = UBUNTU,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Make a disk in jammy's layout: root with some files, BIOS boot and ESP."""
    gpt(disk, size, JAMMY)
    root = ext4(
        disk.with_name(f"{disk.name}.root"),
        size - 13 * MIB,
        files={"usr/lib/os-release": os_release, **(files or {})},
    )
    put(root, disk, 12 * MIB)
    write_at(disk, 0, b"\xebBIOS boot code")
    write_at(disk, 1 * MIB, b"GRUB core image" * 100)
    write_at(disk, 5 * MIB, b"ESP content" * 100)
    return disk


def noble(disk: Path, *, size: int = 96 * MIB) -> Path:
    """Make a disk in noble's layout: /boot besides, and root behind it."""
    gpt(disk, size, NOBLE)
    root = ext4(
        disk.with_name(f"{disk.name}.root"),
        size - 29 * MIB,
        files={"usr/lib/os-release": UBUNTU},
    )
    boot = ext4(
        disk.with_name(f"{disk.name}.boot"),
        16 * MIB,
        label="BOOT",
        uuid=BOOT_UUID,
        files={"vmlinuz": "kernel"},
        options=("-O", "^metadata_csum"),
    )
    put(root, disk, 28 * MIB)
    put(boot, disk, 12 * MIB)
    return disk
