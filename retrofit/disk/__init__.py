"""Source disks: the safety of the file, its layout, and its operating system."""

from __future__ import annotations

from retrofit.disk.ext4 import Superblock
from retrofit.disk.gpt import Partition
from retrofit.disk.image_format import require_uploadable, source_format
from retrofit.disk.inspect import Filesystem, StockDisk, inspect
from retrofit.disk.os_release import OsRelease, check_os, parse_os_release

__all__ = [
    "Filesystem",
    "OsRelease",
    "Partition",
    "StockDisk",
    "Superblock",
    "check_os",
    "inspect",
    "parse_os_release",
    "require_uploadable",
    "source_format",
]
