"""A build's new filesystem has the features and proportions of the source's."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.build.command import mkfs_options
from retrofit.disk import ext4
from tests.component import disks
from tests.component.disks import MIB


@pytest.mark.parametrize(
    "source",
    [
        ("-O", "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,sparse_super"),
        ("-O", "^metadata_csum,^64bit", "-m", "1", "-I", "128"),
        ("-O", "metadata_csum_seed,orphan_file", "-i", "4096", "-J", "size=8"),
        ("-O", "^has_journal", "-b", "1024"),
    ],
    ids=str,
)
def test_new_filesystem_is_like_the_source_whatever_its_size(
    tmp_path: Path, source: tuple[str, ...]
) -> None:
    old = ext4.superblock(disks.ext4(tmp_path / "old", 64 * MIB, options=source))
    options = tuple(mkfs_options(old).split())
    new = ext4.superblock(disks.ext4(tmp_path / "new", 192 * MIB, options=options))
    assert new.features == old.features
    assert (new.block_size, new.inode_size) == (old.block_size, old.inode_size)
    assert new.journal_size == old.journal_size
    assert new.reserved_blocks / new.blocks == pytest.approx(
        old.reserved_blocks / old.blocks, abs=0.001
    )
    assert new.blocks / new.inodes == pytest.approx(old.blocks / old.inodes, rel=0.1)
    same_size = ext4.superblock(disks.ext4(tmp_path / "same", 64 * MIB, options=options))
    assert same_size.inodes == old.inodes
