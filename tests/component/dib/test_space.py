"""A tree fits into the filesystem that was sized for it, with the room that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.dib import space
from retrofit.disk import ext4
from tests.component import disks
from tests.component.disks import MIB

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


@pytest.mark.root
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


@pytest.mark.root
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
