"""Parsers of what is in a disk."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.component import disks
from tests.component.disks import MIB
from tests.fuzz.parsers import MENDED, image_format, os_release, partition_table, superblock
from tests.fuzz.shapes import EXAMPLES, LINES, TEXT, fast, mutated

with_files = settings(fast, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2, 34, 2**63, 2**64 - 1, 65535, 24576])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    disk = disks.gpt(tmp_path_factory.mktemp("gpt") / "disk", 24 * MIB, disks.JAMMY)
    return disk.read_bytes()[: 64 * 1024]


@with_files
@given(st.data())
def test_a_partition_table_is_sane_or_refused(table: bytes, data: st.DataObject) -> None:
    partition_table(data.draw(mutated(table)))


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
    partition_table(MENDED + bytes(data[1:]))


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

    superblock(_encoded("\n".join(lines) + "\n" + more))


@fast
@given(
    st.lists(st.tuples(st.sampled_from(["ID", "VERSION_ID", "VERSION_CODENAME", "#", ""]), TEXT))
)
def test_an_os_release_is_plain_or_refused(fields: list[tuple[str, str]]) -> None:
    os_release(_encoded("\n".join(f"{key}={value}" for key, value in fields)))


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


@pytest.fixture(scope="module")
def qcow2(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("qcow2") / "disk"
    disks.run("qemu-img", "create", "-q", "-f", "qcow2", path, "16M")
    return path.read_bytes()


@with_files
@given(st.data())
def test_a_format_is_told_or_refused(qcow2: bytes, data: st.DataObject) -> None:
    image_format(data.draw(mutated(qcow2) | mutated(qcow2[:512]) | st.binary(max_size=2048)))


def test_enough_is_tried() -> None:
    assert EXAMPLES >= 100
