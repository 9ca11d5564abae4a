"""Disks that lie: a stock image's disk with one thing wrong, its checksums right where wanted."""

from __future__ import annotations

import struct
import subprocess
import zlib
from pathlib import Path

from tests.component.disks import MIB

SIZE = 32 * MIB
ROOT_AT = 12 * MIB
ENTRY = 128

# Fields of a GPT header (UEFI specification, 5.3.2): offset and form.
HEADER_SIZE = (12, "<I")
CURRENT = (24, "<Q")
FIRST_USABLE = (40, "<Q")
LAST_USABLE = (48, "<Q")
ENTRIES_AT = (72, "<Q")
ENTRIES = (80, "<I")
ENTRY_SIZE = (84, "<I")
# And of an entry.
TYPE = (0, "<Q")
FIRST = (32, "<Q")
LAST = (40, "<Q")


def set_header(disk: Path, field: tuple[int, str], value: int, *, checksum: bool = True) -> None:
    """Set a field of the primary header, whose checksum covers what it says its size is."""
    with disk.open("r+b") as file:
        file.seek(512)
        sector = bytearray(file.read(512))
        struct.pack_into(field[1], sector, field[0], value)
        if checksum:
            struct.pack_into("<I", sector, 16, 0)
            covered = min(struct.unpack_from("<I", sector, 12)[0], 512)
            struct.pack_into("<I", sector, 16, zlib.crc32(sector[:covered]))
        file.seek(512)
        file.write(sector)


def set_entry(disk: Path, number: int, field: tuple[int, str], value: int) -> None:
    """Set a field of a partition's entry, and the checksum over all entries."""
    with disk.open("r+b") as file:
        file.seek(1024)
        entries = bytearray(file.read(128 * ENTRY))
        struct.pack_into(field[1], entries, (number - 1) * ENTRY + field[0], value)
        file.seek(1024)
        file.write(entries)
    set_header(disk, (88, "<I"), zlib.crc32(entries))


def drop_entries(disk: Path) -> None:
    """Leave a table without partitions, whose checksums are right."""
    entries = bytes(128 * ENTRY)
    poke(disk, 1024, entries)
    set_header(disk, (88, "<I"), zlib.crc32(entries))


def poke(file: Path, at: int, content: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(content)


def truncate(file: Path, size: int) -> None:
    with file.open("r+b") as stream:
        stream.truncate(size)


def debugfs(disk: Path, *requests: str, at: int = ROOT_AT) -> None:
    """Change a filesystem as no kernel would."""
    subprocess.run(
        ["debugfs", "-w", "-f", "-", f"{disk}?offset={at}"],
        input="\n".join(requests) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def os_release(disk: Path, content: bytes) -> None:
    """Replace the root filesystem's os-release."""
    file = disk.with_name("os-release")
    file.write_bytes(content)
    debugfs(disk, "cd /usr/lib", "rm os-release", f"write {file} os-release")
