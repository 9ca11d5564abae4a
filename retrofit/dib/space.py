"""The size of an ext4 filesystem for a tree of files, measured rather than guessed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retrofit.disk import ext4
from retrofit.system import process
from retrofit.system.privilege import as_root
from retrofit.system.sizes import MEBIBYTE

TIMEOUT = 600.0
LATE_WRITES = 64 * MEBIBYTE
"""Bytes for finalise scripts, which write after the size was decided."""
BLOCK = 4096


def content_size(tree: Path, *, without: Sequence[Path] = ()) -> int:
    """Return the bytes of the files and directories of `tree`, rounded up to blocks.

    Stays on one filesystem; a file with several links counts once.
    """
    pruned: list[str | Path] = []
    for other in without:
        pruned += ["-path", other, "-prune", "-o"]
    listed = process.run(
        as_root("find", tree, "-xdev", *pruned, "-printf", "%y %i %b %s\n"), timeout=TIMEOUT
    ).stdout
    return sum_of_blocks(listed)


def sum_of_blocks(listed: str) -> int:
    """Add up lines of type, inode, 512-byte blocks and size, as `find` prints them."""
    total = 0
    seen = set()
    for line in listed.splitlines():
        kind, inode, blocks, size = line.split()
        if inode in seen:
            continue
        seen.add(inode)
        if kind == "d":
            # A directory on tmpfs has no blocks, and a size that means nothing on ext4.
            total += max(BLOCK, _whole_blocks(int(blocks) * 512))
        elif kind == "l":
            # ext4 keeps targets shorter than 60 bytes in the inode.
            total += BLOCK if int(size) >= 60 else 0
        else:
            total += _whole_blocks(int(blocks) * 512)
    return total


def _whole_blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def partition_size(wanted: int, size: int, options: Sequence[str], trial: Path) -> int:
    """Return the smallest size, at least `size` bytes, of a filesystem with `wanted` usable bytes.

    Blocks reserved for root are not usable. The overhead of the filesystem is measured: it is made
    on `trial`, a sparse file, which is removed again.
    """
    try:
        while True:
            with trial.open("wb") as file:
                file.truncate(size)
            process.run(
                ["mkfs.ext4", "-q", "-F", *options, trial], timeout=TIMEOUT, env=ext4.C_LOCALE
            )
            missing = wanted - ext4.superblock(trial).available
            if missing <= 0:
                return size
            size = -(-(size + missing) // MEBIBYTE) * MEBIBYTE
    finally:
        trial.unlink(missing_ok=True)
