"""Parsers of what is in a disk."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrofit.dib.plan import mkfs_options
from retrofit.disk import gpt
from retrofit.disk.ext4 import parse_superblock
from retrofit.disk.os_release import PLAIN, parse_os_release
from retrofit.disk.source_format import source_format
from retrofit.errors import SourceError
from tests.fuzz.shapes import EXAMPLES, LINES, TEXT, fast, mutated, tolerant
from tests.unit import disks
from tests.unit.disks import MIB

with_files = settings(fast, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2, 34, 2**63, 2**64 - 1, 65535, 24576])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    disk = disks.gpt(tmp_path_factory.mktemp("gpt") / "disk", 24 * MIB, disks.JAMMY)
    return disk.read_bytes()[: 64 * 1024]


def read(data: bytes) -> None:
    """Read a table of a disk that is only a beginning, as long as a whole one."""

    class Disk(io.BytesIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            if whence == 2:
                return 24 * MIB
            return super().seek(offset, whence)

    found = gpt._read(Disk(data.ljust(128 * 1024, b"\0")))
    ends = 0
    for partition in sorted(found.partitions, key=lambda each: each.offset):
        assert partition.size > 0
        assert ends <= partition.offset
        ends = partition.end
    assert ends <= 24 * MIB


@with_files
@given(st.data())
def test_a_partition_table_is_sane_or_refused(table: bytes, data: st.DataObject) -> None:
    tolerant(lambda: read(data.draw(mutated(table))), ValueError)


@with_files
@given(
    fields=st.lists(
        st.tuples(st.sampled_from([12, 24, 32, 40, 48, 72, 80, 84]), NUMBERS), max_size=3
    ),
    entries=st.lists(
        st.tuples(st.integers(0, 127), st.sampled_from([0, 32, 40, 48]), NUMBERS), max_size=4
    ),
)
def test_a_table_with_right_checksums_is_sane_or_refused(
    table: bytes, fields: list[tuple[int, int]], entries: list[tuple[int, int, int]]
) -> None:
    data = bytearray(table)
    for slot, at, value in entries:
        struct.pack_into("<Q", data, 1024 + slot * 128 + at, value)
    for at, value in fields:
        form = "<I" if at in (12, 80, 84) else "<Q"
        struct.pack_into(form, data, 512 + at, value & (0xFFFFFFFF if form == "<I" else 2**64 - 1))
    count, size = struct.unpack_from("<II", data, 512 + 80)
    covered = data[1024 : 1024 + min(count * size, 63 * 1024)]
    struct.pack_into("<I", data, 512 + 88, zlib.crc32(covered))
    struct.pack_into("<I", data, 512 + 16, 0)
    header = struct.unpack_from("<I", data, 512 + 12)[0]
    struct.pack_into("<I", data, 512 + 16, zlib.crc32(data[512 : 512 + min(header, 512)]))
    tolerant(lambda: read(bytes(data)), ValueError)


DUMPE2FS = """\
Filesystem volume name:   cloudimg-rootfs
Filesystem UUID:          11111111-2222-4333-8444-555555555555
Filesystem features:      has_journal ext_attr
Filesystem state:         clean
Inode count:              4864
Block count:              19456
Reserved block count:     972
Free blocks:              13922
Block size:               1024
Inode size:               256
Total journal size:       1024k
"""


@fast
@given(
    st.lists(st.tuples(st.integers(0, 10), TEXT | st.integers().map(str)), max_size=4),
    LINES,
)
def test_a_superblock_is_usable_or_refused(changes: list[tuple[int, str]], more: str) -> None:
    lines = DUMPE2FS.splitlines()
    for at, value in changes:
        lines[at] = f"{lines[at].partition(':')[0]}: {value}"

    def parse() -> None:
        block = parse_superblock("\n".join(lines) + "\n" + more)
        assert 0 <= block.used <= block.blocks * block.block_size
        assert block.available >= 0
        mkfs_options(block)

    tolerant(parse, SourceError)


@fast
@given(
    st.lists(st.tuples(st.sampled_from(["ID", "VERSION_ID", "VERSION_CODENAME", "#", ""]), TEXT))
)
def test_an_os_release_is_plain_or_refused(fields: list[tuple[str, str]]) -> None:
    text = "\n".join(f"{key}={value}" for key, value in fields)

    def parse() -> None:
        found = parse_os_release(text)
        assert all(PLAIN.fullmatch(each) for each in (found.id, found.version_id, found.codename))

    tolerant(parse, SourceError)


@pytest.fixture(scope="module")
def qcow2(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("qcow2") / "disk"
    disks.run("qemu-img", "create", "-q", "-f", "qcow2", path, "16M")
    return path.read_bytes()


@with_files
@given(st.data())
def test_a_format_is_told_or_refused(tmp_path: Path, qcow2: bytes, data: st.DataObject) -> None:
    file = tmp_path / "image"
    file.write_bytes(data.draw(mutated(qcow2) | mutated(qcow2[:512]) | st.binary(max_size=2048)))

    def tell() -> None:
        assert source_format(file) in {"qcow2", "raw"}

    tolerant(tell, SourceError)


def test_enough_is_tried() -> None:
    assert EXAMPLES >= 100
