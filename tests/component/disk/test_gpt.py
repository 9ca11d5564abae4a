"""Partition tables are read whole or refused, and grow without touching anything else."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest

from retrofit.disk import gpt
from retrofit.errors import SourceError
from tests.component import disks
from tests.component.disks import MIB


def dump(disk: Path) -> str:
    return disks.run("sfdisk", "-d", disk)


def test_reads_what_sfdisk_wrote(tmp_path: Path) -> None:
    disk = disks.gpt(tmp_path / "disk", 64 * MIB, disks.JAMMY)
    table = gpt.read(disk)
    assert [(p.number, p.offset, p.size) for p in table.partitions] == [
        (1, 12 * MIB, 51 * MIB),
        (14, MIB, 4 * MIB),
        (15, 5 * MIB, 7 * MIB),
    ]
    assert table.partitions[0].name == "root"
    assert [p.kind for p in table.partitions] == ["Linux filesystem", "BIOS boot", "EFI system"]
    assert table.disk_guid.upper() in dump(disk)


@pytest.mark.parametrize("extra", [1, 100 * 1024, 7 * MIB, 1000 * MIB])
def test_grown_disk_differs_in_nothing_but_the_end(tmp_path: Path, extra: int) -> None:
    disk = disks.jammy(tmp_path / "disk")
    before, content = dump(disk), disk.read_bytes()
    table = gpt.read(disk)
    root = table.partitions[0]
    grown = gpt.grow(disk, root, gpt.grown_size(table, root, root.size + extra))
    assert root.size + extra <= grown.size <= root.size + extra + 2 * MIB
    assert "No problems found" in disks.run("sgdisk", "-v", disk)

    without_sizes = re.compile(r"(last-lba: \d+)|(raw1.*|1 : start=\s*24576, size=\s*\d+)")
    assert without_sizes.sub("", dump(disk)) == without_sizes.sub("", before)
    with disk.open("rb") as file:
        after = file.read(root.end)
    changed = [
        at for at in range(0, root.end, 512) if after[at : at + 512] != content[at : at + 512]
    ]
    # Protective MBR (its size field), primary header, the sector of the root's entry.
    assert changed == [0, 512, 1024]
    assert all(458 <= at < 462 for at in range(512) if after[at] != content[at])


def test_old_backup_table_is_gone_from_the_grown_partition(tmp_path: Path) -> None:
    disk = disks.jammy(tmp_path / "disk")
    table = gpt.read(disk)
    root = table.partitions[0]
    gpt.grow(disk, root, 128 * MIB)
    content = disk.read_bytes()
    assert content.count(gpt.SIGNATURE) == 2
    assert set(content[table.last_usable : 64 * MIB]) == {0}


def test_protective_entry_of_the_whole_disk_stays(tmp_path: Path) -> None:
    disk = disks.jammy(tmp_path / "disk")
    disks.write_at(disk, gpt.MBR_FIRST_SIZE, b"\xff" * 4)
    before = disk.read_bytes()[:512]
    gpt.grow(disk, gpt.read(disk).partitions[0], 128 * MIB)
    assert disk.read_bytes()[:512] == before


def test_partition_with_another_behind_it_cannot_grow(tmp_path: Path) -> None:
    disk = disks.noble(tmp_path / "disk")
    boot = next(p for p in gpt.read(disk).partitions if p.number == 16)
    with pytest.raises(ValueError, match="partition 16 cannot grow: 1 lies behind it"):
        gpt.grow(disk, boot, 128 * MIB)


def test_sectors_of_4096_bytes(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(64 * MIB)
    disks.run("fdisk", "-b", "4096", disk, stdin="g\nn\n1\n256\n\nw\n")
    table = gpt.read(disk)
    assert table.sector_size == 4096
    root = table.partitions[0]
    assert root.offset == MIB
    assert gpt.grow(disk, root, 128 * MIB).size > root.size
    assert "No errors detected" in disks.run("fdisk", "-b", "4096", disk, stdin="v\nq\n")


def refused(disk: Path) -> str:
    with pytest.raises(SourceError) as caught:
        gpt.read(disk)
    assert caught.value.hint
    assert "disk" in caught.value.message
    return caught.value.message


def test_mbr_is_named(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(16 * MIB)
    disks.run("sfdisk", "--quiet", disk, stdin="label: dos\nstart=2048, type=83\n")
    assert "it is partitioned by MBR" in refused(disk)


def test_bare_filesystem_is_named(tmp_path: Path) -> None:
    assert "neither a GPT nor an MBR" in refused(disks.ext4(tmp_path / "disk", 16 * MIB))


def test_empty_disk_and_tiny_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(100))
    assert "only 100 bytes" in refused(disk)


def test_table_without_partitions(tmp_path: Path) -> None:
    assert "no partitions" in refused(disks.gpt(tmp_path / "disk", 16 * MIB, ""))


def test_disk_cut_short(tmp_path: Path) -> None:
    disk = disks.jammy(tmp_path / "disk")
    with disk.open("r+b") as file:
        file.truncate(40 * MIB)
    assert "truncated" in refused(disk)


def test_damaged_header_and_damaged_entries(tmp_path: Path) -> None:
    disk = disks.jammy(tmp_path / "disk")
    content = disk.read_bytes()
    disks.write_at(disk, 512 + 48, b"\x07")
    assert "header has a wrong checksum" in refused(disk)
    disk.write_bytes(content)
    disks.write_at(disk, 1024 + 40, b"\x07")
    assert "entries have a wrong checksum" in refused(disk)


def with_entry(disk: Path, slot: int, first: int, last: int) -> Path:
    """Give a partition other bounds, with valid checksums: what only an enemy would do."""
    content = bytearray(disk.read_bytes())
    struct.pack_into("<QQ", content, 1024 + slot * 128 + 32, first, last)
    struct.pack_into("<I", content, 512 + 88, zlib.crc32(content[1024 : 1024 + 128 * 128]))
    struct.pack_into("<I", content, 512 + 16, 0)
    struct.pack_into("<I", content, 512 + 16, zlib.crc32(content[512 : 512 + 92]))
    disk.write_bytes(content)
    return disk


def test_overlapping_partitions(tmp_path: Path) -> None:
    disk = with_entry(disks.jammy(tmp_path / "disk"), 14, 10240, 30000)
    assert "partitions 15 and 1 overlap" in refused(disk)


@pytest.mark.parametrize(("first", "last"), [(24576, 1 << 60), (1, 30000), (1 << 63, 1 << 63)])
def test_partition_outside_of_the_disk(tmp_path: Path, first: int, last: int) -> None:
    disk = with_entry(disks.jammy(tmp_path / "disk"), 0, first, last)
    assert "partition 1 reaches outside" in refused(disk)


def test_partition_that_ends_before_it_begins(tmp_path: Path) -> None:
    disk = with_entry(disks.jammy(tmp_path / "disk"), 0, 30000, 29000)
    assert "partition 1 ends before it begins" in refused(disk)


def test_header_that_describes_a_monstrous_table(tmp_path: Path) -> None:
    disk = disks.jammy(tmp_path / "disk")
    content = bytearray(disk.read_bytes())
    struct.pack_into("<II", content, 512 + 80, 0xFFFFFFFF, 128)
    struct.pack_into("<I", content, 512 + 16, 0)
    struct.pack_into("<I", content, 512 + 16, zlib.crc32(content[512 : 512 + 92]))
    disk.write_bytes(content)
    assert "impossible table" in refused(disk)
