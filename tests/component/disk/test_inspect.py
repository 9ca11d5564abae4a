"""A source is examined before any tool opens it, and refused by what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit import disk
from retrofit.errors import RetrofitError, SourceError
from tests.component import disks
from tests.component.disks import MIB


def refusal(error: pytest.ExceptionInfo[RetrofitError]) -> str:
    assert error.value.exit_code == 4
    assert error.value.hint
    return error.value.message


def qemu_img(path: Path, *options: str, size: str = "16M") -> Path:
    disks.run("qemu-img", "create", "-q", *options, path, size)
    return path


def test_qcow2_and_raw_are_told_apart_by_content(tmp_path: Path) -> None:
    raw = disks.jammy(tmp_path / "disk.qcow2")
    assert disk.source_format(raw) == "raw"
    qcow2 = tmp_path / "disk.raw"
    disks.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
    assert disk.source_format(qcow2) == "qcow2"


@pytest.mark.parametrize("name", ["vmdk", "vdi", "vhdx", "vpc", "qed"])
def test_other_formats_are_named(tmp_path: Path, name: str) -> None:
    image = qemu_img(tmp_path / "image", "-f", name)
    with pytest.raises(SourceError) as caught:
        disk.source_format(image)
    assert str(image) in refusal(caught)
    assert {"vpc": "vhd"}.get(name, name) in caught.value.message


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not a file") as caught:
        disk.source_format(tmp_path / "none")
    refusal(caught)


def test_backing_file_is_refused(tmp_path: Path) -> None:
    base = qemu_img(tmp_path / "base", "-f", "qcow2")
    image = qemu_img(tmp_path / "image", "-f", "qcow2", "-b", str(base), "-F", "qcow2")
    with pytest.raises(SourceError, match="Image has a backing file") as caught:
        disk.source_format(image)
    refusal(caught)


def test_data_file_is_refused(tmp_path: Path) -> None:
    image = qemu_img(tmp_path / "image", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}")
    with pytest.raises(SourceError, match="Image has data_file set") as caught:
        disk.source_format(image)
    refusal(caught)


def test_encrypted_qcow2_is_refused(tmp_path: Path) -> None:
    image = qemu_img(
        tmp_path / "image", "-f", "qcow2", "--object", "secret,id=s,data=secret",
        "-o", "encrypt.format=aes,encrypt.key-secret=s",
    )  # fmt: skip
    with pytest.raises(SourceError, match="Image is encrypted") as caught:
        disk.source_format(image)
    refusal(caught)


def test_text_is_no_disk(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_text("<html>404 not found</html>\n" * 10000)
    assert disk.source_format(image) == "raw"
    with pytest.raises(SourceError, match="neither a GPT nor an MBR") as caught:
        disk.inspect(image)
    refusal(caught)


def test_jammy_layout(tmp_path: Path) -> None:
    stock = disk.inspect(disks.jammy(tmp_path / "disk"))
    assert [(f.mount_point, f.partition.number, f.label) for f in stock.mounted] == [
        ("/", 1, "cloudimg-rootfs")
    ]
    assert stock.root.uuid == disks.ROOT_UUID
    assert stock.root.superblock.uuid == disks.ROOT_UUID
    assert stock.virtual_size == 64 * MIB
    assert stock.os == disk.OsRelease(id="ubuntu", version_id="24.04", codename="noble")
    assert [content.partition.number for content in stock.others] == [14, 15]


def test_noble_layout_has_boot_of_its_own(tmp_path: Path) -> None:
    stock = disk.inspect(disks.noble(tmp_path / "disk"))
    assert [(f.mount_point, f.partition.number) for f in stock.mounted] == [("/", 1), ("/boot", 16)]
    boot = stock.mounted[1]
    assert boot.uuid == disks.BOOT_UUID
    assert "metadata_csum" not in boot.superblock.features
    assert "metadata_csum" in stock.root.superblock.features


def test_superblock_tells_space_and_format(tmp_path: Path) -> None:
    stock = disk.inspect(disks.jammy(tmp_path / "disk"))
    found = stock.root.superblock
    assert found.block_size * found.blocks == 51 * MIB
    assert 0 < found.available < found.block_size * found.free_blocks
    assert found.used + found.block_size * found.free_blocks == 51 * MIB
    assert found.journal_size > 0
    assert found.clean


def test_root_is_found_without_its_label(tmp_path: Path) -> None:
    path = disks.jammy(tmp_path / "disk")
    root = disks.ext4(tmp_path / "root", 51 * MIB, label="", files={"etc/os-release": disks.UBUNTU})
    disks.write_at(path, 12 * MIB, root.read_bytes())
    stock = disk.inspect(path)
    assert (stock.root.partition.number, stock.root.label) == (1, "")
    assert stock.os.id == "ubuntu"


def inspected(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        disk.inspect(path)
    return refusal(caught)


def replace_root(path: Path, *mkfs: str) -> Path:
    root = path.with_name("other-root")
    with root.open("wb") as file:
        file.truncate(51 * MIB)
    disks.run(*mkfs, root)
    disks.write_at(path, 12 * MIB, root.read_bytes())
    return path


def test_other_root_filesystem_is_named(tmp_path: Path) -> None:
    path = replace_root(disks.jammy(tmp_path / "disk"), "mkswap", "-L", "cloudimg-rootfs")
    assert "root filesystem of disk is swap, which is not supported" in inspected(path)


def test_what_is_there_instead_of_a_root_is_listed(tmp_path: Path) -> None:
    path = replace_root(disks.jammy(tmp_path / "disk"), "mkswap", "-L", "other")
    said = inspected(path)
    assert "has no ext4 root filesystem; its partitions: 1: swap 'other', 14: BIOS boot" in said


def test_damaged_filesystem_is_refused_before_the_kernel_sees_it(tmp_path: Path) -> None:
    path = disks.jammy(tmp_path / "disk")
    # The block bitmap of the first group, as far as e2fsck is concerned.
    found = disks.run("dumpe2fs", f"{path}?offset={12 * MIB}")
    bitmap = int(found.split("Block bitmap at ")[1].split(" ")[0].rstrip(","))
    size = disk.inspect(path).root.superblock.block_size
    disks.write_at(path, 12 * MIB + bitmap * size, b"\x55" * size)
    assert "is damaged" in inspected(path)


def test_filesystem_larger_than_its_partition_is_refused(tmp_path: Path) -> None:
    path = disks.jammy(tmp_path / "disk")
    root = disks.ext4(tmp_path / "root", 80 * MIB, files={"usr/lib/os-release": disks.UBUNTU})
    disks.write_at(path, 12 * MIB, root.read_bytes()[: 51 * MIB])
    assert "larger than the partition" in inspected(path)


def test_image_without_os_release(tmp_path: Path) -> None:
    assert "names no operating system" in inspected(disks.jammy(tmp_path / "disk", os_release="#"))


def test_os_release_quoting() -> None:
    text = '# comment\nID=debian\nVERSION_ID="13"\nVERSION_CODENAME=\'trixie\'\nBROKEN="x\n\n'
    assert str(disk.parse_os_release(text)) == "debian 13 (trixie)"


def test_os_is_compared_with_what_the_record_says() -> None:
    found = disk.OsRelease(id="debian", version_id="12", codename="bookworm")
    disk.check_os(found, "debian", "12", allow_mismatch=False)
    disk.check_os(found, "ubuntu", "22.04", allow_mismatch=True)
    with pytest.raises(SourceError, match=r"debian 12 \(bookworm\) inside.*has ubuntu 22\.04") as e:
        disk.check_os(found, "ubuntu", "22.04", allow_mismatch=False)
    assert "allow_os_mismatch" in (e.value.hint or "")
