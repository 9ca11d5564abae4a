"""Stock disks: is the file safe, what is on it, which operating system is it."""

from __future__ import annotations

from retrofit.disk.ext4 import Superblock
from retrofit.disk.gpt import Partition
from retrofit.disk.os_release import OsRelease, check_os, parse_os_release
from retrofit.disk.source_format import source_format
from retrofit.disk.stock import Filesystem, StockDisk, inspect

__all__ = [
    "Filesystem",
    "OsRelease",
    "Partition",
    "StockDisk",
    "Superblock",
    "check_os",
    "inspect",
    "parse_os_release",
    "source_format",
]
