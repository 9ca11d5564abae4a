"""A tree fits into the filesystem that was sized for it, with the room that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.dib import preflight, space
from retrofit.disk import ext4
from retrofit.errors import BuildError
from retrofit.memory import Memory
from tests.unit import disks
from tests.unit.disks import MIB

OPTIONS = ("-b", "4096", "-m", "5", "-i", "16384", "-J", "size=8")


def make_tree(root: Path) -> Path:
    for number in range(300):
        directory = root / f"d{number % 30}/e{number}"
        directory.mkdir(parents=True)
        (directory / "file").write_bytes(b"x" * (number * 100))
    (root / "large").write_bytes(b"y" * 5 * MIB)
    (root / "link").hardlink_to(root / "large")
    (root / "short").symlink_to("large")
    (root / "long").symlink_to("x" * 200)
    return root


def test_size_for_a_tree_leaves_the_room_asked_for(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    wanted = 20 * MIB
    size = space.partition_size(
        space.content_size(tree) + wanted, 24 * MIB, OPTIONS, tmp_path / "trial"
    )
    with (tmp_path / "image").open("wb") as file:
        file.truncate(size)
    disks.run("mkfs.ext4", "-q", "-F", *OPTIONS, "-d", tree, tmp_path / "image")
    available = ext4.superblock(tmp_path / "image").available
    assert wanted <= available < wanted + 2 * MIB
    assert not (tmp_path / "trial").exists()


def test_partition_that_is_large_enough_stays_as_it_is(tmp_path: Path) -> None:
    assert space.partition_size(5 * MIB, 64 * MIB, OPTIONS, tmp_path / "trial") == 64 * MIB


def test_hard_links_count_once_and_other_filesystems_of_the_tree_not_at_all(
    tmp_path: Path,
) -> None:
    tree = tmp_path / "tree"
    (tree / "boot/grub").mkdir(parents=True)
    (tree / "boot/kernel").write_bytes(b"k" * 3 * MIB)
    (tree / "file").write_bytes(b"f" * MIB)
    (tree / "same").hardlink_to(tree / "file")
    everything = space.content_size(tree)
    without = space.content_size(tree, without=[tree / "boot"])
    assert everything - without == 3 * MIB + 2 * 4096
    assert without == MIB + 4096


def test_too_little_disk_space_names_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"GiB free, and this build needs 1048576\.0 GiB") as e:
        preflight.check_disk_space(tmp_path, 1 << 50)
    assert "paths.work" in (e.value.hint or "")
    preflight.check_disk_space(tmp_path, 1)


def memory(monkeypatch: pytest.MonkeyPatch, total: int, available: int) -> None:
    here = Memory(total=total << 30, available=available << 30)
    monkeypatch.setattr(preflight, "memory", lambda: here)


def test_memory_decides_where_to_build(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = preflight.Needs(disk=0, tmpfs=4 << 30)
    memory(monkeypatch, 16, 6)
    assert preflight.choose_tmpfs(needs, wanted=True)
    assert not preflight.choose_tmpfs(needs, wanted=False)
    memory(monkeypatch, 7, 6)  # a tmpfs takes at most half of it
    assert not preflight.choose_tmpfs(needs, wanted=True)
    memory(monkeypatch, 16, 4)
    assert not preflight.choose_tmpfs(needs, wanted=True)
    memory(monkeypatch, 16, 0)
    with pytest.raises(BuildError, match=r"0 MiB of memory is available.*needs 1\.0 GiB"):
        preflight.choose_tmpfs(needs, wanted=True)


def test_missing_tools_are_named_with_their_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk-image-create").touch()
    monkeypatch.setattr(preflight, "SYSTEM_PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"cannot build without qemu-img, mkfs\.ext4") as caught:
        preflight.check_tools(tmp_path)
    assert "apt-get install" in (caught.value.hint or "")
    assert "qemu-utils" in (caught.value.hint or "")


def test_missing_disk_image_create_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no disk-image-create in"):
        preflight.check_tools(tmp_path)
