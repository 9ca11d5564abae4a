"""A raw image whose protective MBR Glance refuses is refused before it is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.disk import require_uploadable
from retrofit.errors import SourceError

PROTECTIVE = bytes((0x00, 0x00, 0x02, 0x00, 0xEE, 0xFF, 0xFF, 0xFF)) + (1).to_bytes(4, "little")
PROTECTIVE += (0xFFFFFFFF).to_bytes(4, "little")
LINUX = bytes((0x00, 0x20, 0x21, 0x00, 0x83, 0xFE, 0xFF, 0xFF)) + (2048).to_bytes(4, "little")
LINUX += (8192).to_bytes(4, "little")


def disk(path: Path, *entries: bytes) -> Path:
    """Write the beginning of a disk with these entries in its MBR."""
    table = b"".join(entries).ljust(64, b"\0")
    path.write_bytes(bytes(446) + table + b"\x55\xaa" + bytes(1 << 20))
    return path


@pytest.mark.parametrize(
    "entries", [(PROTECTIVE,), (LINUX,)], ids=["a protective MBR", "a plain MBR"]
)
def test_tables_that_glance_takes(tmp_path: Path, entries: tuple[bytes, ...]) -> None:
    require_uploadable(disk(tmp_path / "disk", *entries))


def test_a_disk_without_a_table_is_none_of_its_business(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    require_uploadable(tmp_path / "disk")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ((PROTECTIVE[:1] + b"\xff\xff\xff" + PROTECTIVE[4:],), "invalid start CHS"),
        ((PROTECTIVE[:8] + bytes(4) + PROTECTIVE[12:],), "invalid start LBA"),
        ((PROTECTIVE, LINUX), "invalid extra partitions"),
        ((b"\x01" + PROTECTIVE[1:],), "invalid boot flag"),
        ((), "no partitions defined"),
    ],
)
def test_tables_that_glance_refuses_are_named(
    tmp_path: Path, entries: tuple[bytes, ...], reason: str
) -> None:
    with pytest.raises(SourceError, match=reason) as told:
        require_uploadable(disk(tmp_path / "disk", *entries))
    assert "Glance will refuse the image" in told.value.message
    assert 'build.format = "qcow2"' in (told.value.hint or "")
