"""ext4 filesystems in a raw disk, read in userspace: the kernel mounts only what was checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retrofit.errors import SourceError
from retrofit.system import process
from retrofit.system.sandbox import sandboxed

TIMEOUT = 120.0
# What dumpe2fs prints about the state of a filesystem rather than its format.
_STATES = frozenset({"needs_recovery", "orphan_present"})
# What it prints when the journal is not in the filesystem: e2fsck would look for it on this host.
_ELSEWHERE = frozenset({"Journal UUID", "Journal device"})


@dataclass(frozen=True, kw_only=True)
class Superblock:
    """The properties that a new filesystem takes over from this one. Sizes are bytes."""

    uuid: str
    label: str
    features: tuple[str, ...]
    block_size: int
    blocks: int
    free_blocks: int
    reserved_blocks: int
    inodes: int
    inode_size: int
    journal_size: int
    clean: bool

    @property
    def available(self) -> int:
        """Return the free bytes without those reserved for root."""
        return max(0, self.free_blocks - self.reserved_blocks) * self.block_size

    @property
    def used(self) -> int:
        """Return the bytes in use, metadata included."""
        return (self.blocks - self.free_blocks) * self.block_size


def _at(disk: Path, offset: int) -> str:
    return f"{disk}?offset={offset}"


def _read(disk: Path, *words: str, timeout: float = TIMEOUT) -> process.Completed:
    return process.run(sandboxed(*words, read=[disk]), timeout=timeout, env=C_LOCALE)


def superblock(disk: Path, offset: int = 0) -> Superblock:
    """Return the superblock at `offset` bytes. Raises SourceError when it cannot be read."""
    try:
        printed = _read(disk, "dumpe2fs", "-h", _at(disk, offset))
    except process.CommandError as error:
        raise SourceError(
            f"the ext4 filesystem at byte {offset} of {disk.name} cannot be read: {error}",
            hint="a filesystem newer than this machine's e2fsprogs needs a newer e2fsprogs",
        ) from error
    return parse_superblock(printed.stdout)


def parse_superblock(text: str) -> Superblock:
    """Parse the output of `dumpe2fs -h`. Raises SourceError for a missing or wrong field."""
    fields = dict(re.findall(r"^([^:\n]+):[ \t]*(.*)$", text, flags=re.MULTILINE))

    def number(key: str, *, least: int = 0) -> int:
        try:
            value = int(fields[key])
        except (KeyError, ValueError):
            raise SourceError(f"the filesystem's superblock has no {key.lower()}") from None
        if not least <= value < 2**63:
            raise SourceError(f"the filesystem's superblock has {key.lower()} {value}")
        return value

    if fields.keys() & _ELSEWHERE:
        raise SourceError(
            "the filesystem's journal is on another device",
            hint="the filesystem of a source image has its journal inside",
        )
    blocks = number("Block count", least=1)
    if max(number("Free blocks"), number("Reserved block count")) > blocks:
        raise SourceError("the filesystem's superblock has more free blocks than blocks")
    label = fields.get("Filesystem volume name", "")
    features = fields.get("Filesystem features", "").split()
    return Superblock(
        uuid=fields.get("Filesystem UUID", ""),
        label="" if label == "<none>" else label,
        features=tuple(name for name in features if name not in _STATES),
        block_size=number("Block size", least=1),
        blocks=blocks,
        free_blocks=number("Free blocks"),
        reserved_blocks=number("Reserved block count"),
        inodes=number("Inode count", least=1),
        inode_size=number("Inode size", least=1),
        journal_size=_journal_size(fields),
        clean="needs_recovery" not in features and fields.get("Filesystem state") == "clean",
    )


def _journal_size(fields: Mapping[str, str]) -> int:
    size = fields.get("Total journal size") or fields.get("Journal size") or "0"
    match = re.fullmatch(r"([0-9]{1,12})([kMG]?)", size.strip())
    if match is None:
        return 0
    return int(match[1]) * {"": 1, "k": 1024, "M": 1024**2, "G": 1024**3}[match[2]]


def check(disk: Path, offset: int) -> None:
    """Check a filesystem before the kernel mounts it. Raises SourceError with e2fsck's reason."""
    try:
        _read(disk, "e2fsck", "-fn", _at(disk, offset), timeout=TIMEOUT * 5)
    except process.CommandError as error:
        raise SourceError(
            f"the ext4 filesystem at byte {offset} of {disk.name} is damaged: {error}",
            hint="download the image from its publisher again",
        ) from error


def read_text(disk: Path, offset: int, names: tuple[str, ...], *, limit: int = 65536) -> str:
    """Return the first of the files `names` that exists, links not followed; empty without any.

    Raises SourceError for one that is not a file, or longer than `limit` bytes: a sparse file may
    be larger than all memory.
    """
    for name in names:
        found = _STAT.search(_debugfs(f"stat {name}", disk, offset))
        if found is None or found["type"] == "symlink":
            continue
        if found["type"] != "regular" or int(found["size"]) > limit:
            raise SourceError(
                f"{name} of {disk.name} is {found['type']}, {found['size']} bytes, expected a"
                " short regular file",
                hint="download the image from its publisher again",
            )
        text = _debugfs(f"cat {name}", disk, offset)
        if text.strip():
            return text
    return ""


_STAT = re.compile(r"^Inode: \d+ +Type: (?P<type>[A-Za-z ]+?) +Mode:.*?\bSize: (?P<size>\d+)", re.S)


def _debugfs(request: str, disk: Path, offset: int) -> str:
    try:
        return _read(disk, "debugfs", "-R", request, _at(disk, offset)).stdout
    except process.CommandError as error:
        raise SourceError(
            f"the ext4 filesystem at byte {offset} of {disk.name} cannot be read: {error}",
            hint="download the image from its publisher again",
        ) from error


C_LOCALE: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
}
"""Environment of tools whose output is parsed; e2fsprogs are often outside a user's PATH."""
