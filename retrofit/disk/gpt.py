"""GUID partition tables, read and grown byte by byte (UEFI specification 2.10, chapter 5)."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from retrofit.errors import SourceError
from retrofit.system.sizes import MEBIBYTE

HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY = struct.Struct("<16s16sQQQ72s")
SIGNATURE = b"EFI PART"
SECTOR_SIZES = (512, 4096)
MAX_ENTRIES = 1024
# The protective MBR: its partition type, and where its first entry and that entry's size are.
PROTECTIVE = 0xEE
MBR_FIRST_ENTRY = 446
MBR_FIRST_SIZE = MBR_FIRST_ENTRY + 12

TYPE_NAMES = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system",
    "21686148-6449-6e6f-744e-656564454649": "BIOS boot",
    "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux filesystem",
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": "Linux extended boot",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root (x86-64)",
    "b921b045-1df0-41c3-af44-4c6f280d3fae": "Linux root (arm64)",
    "e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
    "9e1a2d38-c612-4316-aa26-8b49521e5a8b": "PowerPC PReP boot",
}
LINUX_ROOTS = frozenset(guid for guid, name in TYPE_NAMES.items() if name.startswith("Linux root"))


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One entry of the table. `offset` and `size` are bytes; `slot` is its place in the table."""

    slot: int
    offset: int
    size: int
    type_guid: str
    guid: str
    name: str
    attributes: int

    @property
    def number(self) -> int:
        """Return the number that the kernel and the tools give it."""
        return self.slot + 1

    @property
    def end(self) -> int:
        """Return the first byte after it."""
        return self.offset + self.size

    @property
    def kind(self) -> str:
        """Return the name of its type."""
        return TYPE_NAMES.get(self.type_guid, f"type {self.type_guid}")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A valid partition table: no entry overlaps another or reaches beyond the usable space."""

    disk_guid: str
    disk_size: int
    sector_size: int
    first_usable: int
    last_usable: int
    partitions: tuple[Partition, ...]


@dataclass(frozen=True, kw_only=True)
class _Header:
    size: int
    current: int
    backup: int
    first: int
    last: int
    disk_guid: bytes
    entries_at: int
    entries: int
    entry_size: int
    entries_crc: int
    revision: int

    @classmethod
    def unpack(cls, sector: bytes) -> _Header:
        """Take a header apart after checking its signature and checksum; ValueError otherwise."""
        (
            signature, revision, size, crc, _, current, backup, first, last, disk_guid,
            entries_at, entries, entry_size, entries_crc,
        ) = HEADER.unpack_from(sector)  # fmt: skip
        if signature != SIGNATURE:
            raise ValueError("no GPT signature")
        if not HEADER.size <= size <= len(sector):
            raise ValueError("its header has an impossible size")
        body = bytearray(sector[:size])
        struct.pack_into("<I", body, 16, 0)
        if zlib.crc32(body) != crc:
            raise ValueError("its header has a wrong checksum")
        if not (0 < entries <= MAX_ENTRIES and ENTRY.size <= entry_size <= 4096):
            raise ValueError("its header describes an impossible table")
        return cls(
            size=size, current=current, backup=backup, first=first, last=last,
            disk_guid=disk_guid, entries_at=entries_at, entries=entries,
            entry_size=entry_size, entries_crc=entries_crc, revision=revision,
        )  # fmt: skip

    def pack(self, sector: bytes, **changed: int) -> bytes:
        """Return `sector` with this header in it, but for what is `changed`, and its checksum."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__} | changed
        result = bytearray(sector)
        HEADER.pack_into(
            result, 0, SIGNATURE, fields["revision"], fields["size"], 0, 0, fields["current"],
            fields["backup"], fields["first"], fields["last"], fields["disk_guid"],
            fields["entries_at"], fields["entries"], fields["entry_size"], fields["entries_crc"],
        )  # fmt: skip
        struct.pack_into("<I", result, 16, zlib.crc32(result[: fields["size"]]))
        return bytes(result)


def read(path: Path) -> Table:
    """Return the table of a raw disk. Raises SourceError with what is there instead."""
    with path.open("rb") as disk:
        try:
            return _read(disk)
        except ValueError as error:
            raise SourceError(
                f"{path.name} has no partition table that can be used: {error}",
                hint="a source image has a GPT with an ext4 root partition;"
                " download one from a cloud image mirror",
            ) from None


def _bytes_at(disk: BinaryIO, at: int, size: int) -> bytes:
    if at + size > disk.seek(0, 2):  # before a seek that no file can do
        raise ValueError("its partition table points beyond its end")
    disk.seek(at)
    data = disk.read(size)
    if len(data) != size:
        raise ValueError("it ends in the middle of its partition table")
    return data


def _read(disk: BinaryIO) -> Table:
    disk_size = disk.seek(0, 2)
    if disk_size < 64 * 1024:
        raise ValueError(f"it is only {disk_size} bytes long")
    mbr = _bytes_at(disk, 0, 512)
    for sector_size in SECTOR_SIZES:
        sector = _bytes_at(disk, sector_size, sector_size)
        if sector.startswith(SIGNATURE):
            break
    else:
        raise ValueError(_what_else(mbr))
    header = _Header.unpack(sector)
    if header.current != 1 or header.entries_at < 2:
        raise ValueError("its header has another position than it records")
    if _is_hybrid(mbr):
        raise ValueError("its MBR has partitions of its own besides the GPT's")
    raw = _bytes_at(disk, header.entries_at * sector_size, header.entries * header.entry_size)
    if zlib.crc32(raw) != header.entries_crc:
        raise ValueError("its partition entries have a wrong checksum")
    table = Table(
        disk_guid=str(uuid.UUID(bytes_le=header.disk_guid)),
        disk_size=disk_size,
        sector_size=sector_size,
        first_usable=header.first * sector_size,
        last_usable=(header.last + 1) * sector_size,
        partitions=tuple(_partitions(raw, header.entry_size, sector_size)),
    )
    _check(table)
    if min(p.offset for p in table.partitions) < header.entries_at * sector_size + len(raw):
        raise ValueError("a partition lies over the partition table")
    return table


def _is_hybrid(mbr: bytes) -> bool:
    """Return True if the MBR has partitions that contradict the GPT."""
    kinds = {mbr[at + 4] for at in range(MBR_FIRST_ENTRY, 510, 16)}
    return mbr[510:] == b"\x55\xaa" and not kinds <= {0, PROTECTIVE}


def _what_else(mbr: bytes) -> str:
    if mbr[510:] != b"\x55\xaa":
        return "it has neither a GPT nor an MBR (perhaps a bare filesystem)"
    if any(mbr[at + 4] == PROTECTIVE for at in range(MBR_FIRST_ENTRY, 510, 16)):
        return "its MBR announces a GPT, which is missing"
    return "it is partitioned by MBR"


def _partitions(raw: bytes, entry_size: int, sector_size: int) -> Sequence[Partition]:
    found = []
    for slot in range(len(raw) // entry_size):
        kind, guid, first, last, attributes, name = ENTRY.unpack_from(raw, slot * entry_size)
        if kind == bytes(16):
            continue
        if last < first:
            raise ValueError(f"partition {slot + 1} ends before it begins")
        found.append(
            Partition(
                slot=slot,
                offset=first * sector_size,
                size=(last - first + 1) * sector_size,
                type_guid=str(uuid.UUID(bytes_le=kind)),
                guid=str(uuid.UUID(bytes_le=guid)),
                name=name.decode("utf-16-le", errors="replace").split("\0")[0],
                attributes=attributes,
            )
        )
    return found


def _check(table: Table) -> None:
    if not table.partitions:
        raise ValueError("its GPT has no partitions")
    if table.last_usable > table.disk_size:
        raise ValueError("its GPT is for a larger disk: the image is truncated")
    by_offset = sorted(table.partitions, key=lambda partition: partition.offset)
    for partition in by_offset:
        if partition.offset < table.first_usable or partition.end > table.last_usable:
            raise ValueError(f"partition {partition.number} reaches outside of the disk")
    for before, after in pairwise(by_offset):
        if before.end > after.offset:
            raise ValueError(f"partitions {before.number} and {after.number} overlap")


def grown_size(table: Table, partition: Partition, size: int) -> int:
    """Return the disk size, in whole MiB, at which `partition` can have `size` bytes."""
    end = _whole_mebibytes(partition.offset + size)
    # `grow` ends a partition at a whole MiB below the backup table.
    backup = _whole_mebibytes(table.disk_size - table.last_usable)
    return max(table.disk_size, end + backup)


def _whole_mebibytes(size: int) -> int:
    return max(1, -(-size // MEBIBYTE)) * MEBIBYTE


def grow(path: Path, partition: Partition, disk_size: int) -> Partition:
    """Enlarge the disk at `path` to `disk_size` bytes and give its last partition the new space.

    Nothing else changes: the partition's end, the usable space, the place of the backup table,
    the protective entry's size, and the checksums over them.
    Raises ValueError when another partition lies behind it.
    """
    table = read(path)
    behind = [other for other in table.partitions if other.offset > partition.offset]
    if behind:
        numbers = ", ".join(str(other.number) for other in behind)
        raise ValueError(f"partition {partition.number} cannot grow: {numbers} lies behind it")
    if disk_size <= table.disk_size or disk_size % table.sector_size:
        raise ValueError(f"cannot grow a disk of {table.disk_size} bytes to {disk_size}")
    unit = table.sector_size
    with path.open("r+b") as disk:
        sector = _bytes_at(disk, unit, unit)
        header = _Header.unpack(sector)
        entries = bytearray(
            _bytes_at(disk, header.entries_at * unit, header.entries * header.entry_size)
        )
        backup = disk_size // unit - 1
        backup_entries_at = backup - -(-len(entries) // unit)
        # Down to whole MiB, as partitioning tools align the end of a partition they make.
        last = backup_entries_at * unit // MEBIBYTE * MEBIBYTE // unit - 1
        last = max(last, partition.end // unit - 1)
        struct.pack_into("<Q", entries, partition.slot * header.entry_size + 40, last)
        crc = zlib.crc32(entries)

        # The old backup table lies where the partition will be.
        disk.truncate(table.last_usable)
        disk.truncate(disk_size)
        moved = {"last": backup_entries_at - 1, "entries_crc": crc}
        disk.seek(backup_entries_at * unit)
        disk.write(entries)
        disk.seek(backup * unit)
        disk.write(
            header.pack(
                bytes(unit),
                current=backup,
                backup=header.current,
                entries_at=backup_entries_at,
                **moved,
            )
        )
        disk.seek(header.entries_at * unit)
        disk.write(entries)
        disk.seek(unit)
        disk.write(header.pack(sector, backup=backup, **moved))
        _grow_protective_entry(disk, disk_size // unit)
    grown = read(path)
    return next(found for found in grown.partitions if found.slot == partition.slot)


def _grow_protective_entry(disk: BinaryIO, sectors: int) -> None:
    mbr = _bytes_at(disk, 0, 512)
    (size,) = struct.unpack_from("<I", mbr, MBR_FIRST_SIZE)
    # 0xFFFFFFFF means the whole disk, whatever its size, and stays true.
    if mbr[MBR_FIRST_ENTRY + 4] == PROTECTIVE and size != 0xFFFFFFFF:
        disk.seek(MBR_FIRST_SIZE)
        disk.write(struct.pack("<I", min(sectors - 1, 0xFFFFFFFF)))
