"""The disk of a source image, examined without mounting it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from retrofit.disk import ext4, gpt
from retrofit.disk.os_release import OsRelease, parse_os_release
from retrofit.errors import SourceError
from retrofit.system import process
from retrofit.system.sandbox import sandboxed

ROOT_LABEL = "cloudimg-rootfs"
BOOT_LABEL = "BOOT"
HINT = (
    "a source image has a GPT, an ext4 root (label cloudimg-rootfs), and perhaps"
    " an ext4 /boot (label BOOT)"
)
# They become arguments and files of the build.
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,15}|")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class Content:
    """The content of a partition by its signature."""

    partition: gpt.Partition
    type: str
    uuid: str
    label: str

    def __str__(self) -> str:
        label = f" {self.label!r}" if self.label else ""
        return f"{self.partition.number}: {self.type or self.partition.kind}{label}"


@dataclass(frozen=True, kw_only=True)
class Filesystem(Content):
    """An ext4 filesystem that is part of the tree."""

    superblock: ext4.Superblock
    mount_point: str


@dataclass(frozen=True, kw_only=True)
class StockDisk:
    """A raw source disk, from which a build may start; sizes are bytes.

    `mounted` are the filesystems that make up the tree, `/` first; `others` are left as they are.
    """

    path: Path
    virtual_size: int
    sector_size: int
    partitions: tuple[gpt.Partition, ...]
    mounted: tuple[Filesystem, ...]
    others: tuple[Content, ...]
    os: OsRelease

    @property
    def root(self) -> Filesystem:
        """Return the root filesystem."""
        return self.mounted[0]

    @property
    def used(self) -> int:
        """Return the bytes in use in the tree."""
        return sum(found.superblock.used for found in self.mounted)


def inspect(path: Path) -> StockDisk:
    """Examine a raw disk. Raises SourceError, with its content, for one that is no source image."""
    table = gpt.read(path)
    probed = tuple(_probe(path, partition) for partition in table.partitions)
    root = _root(path, probed)
    boot = _boot(probed, root)
    mounted = [_examined(path, root, "/")]
    if boot is not None:
        mounted.append(_examined(path, boot, "/boot"))
    return StockDisk(
        path=path,
        virtual_size=table.disk_size,
        sector_size=table.sector_size,
        partitions=table.partitions,
        mounted=tuple(mounted),
        others=tuple(found for found in probed if found is not root and found is not boot),
        os=_os(path, root.partition.offset),
    )


def _probe(path: Path, partition: gpt.Partition) -> Content:
    argv = ["blkid", "-p", "-O", str(partition.offset), "-S", str(partition.size), "-o", "export"]
    try:
        words = sandboxed(*argv, path, read=[path])
        printed = process.run(words, timeout=ext4.TIMEOUT, env=ext4.C_LOCALE).stdout
    except process.CommandError as error:
        # 2: nothing recognised, as in a BIOS boot partition; 8: more than one signature.
        if error.returncode != 2:
            raise SourceError(
                f"cannot identify partition {partition.number} of {path.name}: {error}",
                hint=HINT,
            ) from error
        printed = ""
    fields = dict(line.partition("=")[::2] for line in printed.splitlines())
    return Content(
        partition=partition,
        type=fields.get("TYPE", ""),
        uuid=fields.get("UUID", ""),
        label=_unescaped(fields.get("LABEL", "")),
    )


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value)


def _root(path: Path, probed: tuple[Content, ...]) -> Content:
    linux = [found for found in probed if found.type == "ext4"]
    for candidates in (
        [found for found in probed if found.label == ROOT_LABEL],
        [found for found in linux if found.partition.type_guid in gpt.LINUX_ROOTS],
        [found for found in linux if found.label != BOOT_LABEL],
    ):
        if not candidates:
            continue
        root = max(candidates, key=lambda found: found.partition.size)
        if root.type != "ext4":
            raise SourceError(
                f"the root filesystem of {path.name} is {root.type}, which is not supported",
                hint=HINT,
            )
        return root
    seen = ", ".join(str(found) for found in probed)
    raise SourceError(f"{path.name} has no ext4 root filesystem; its partitions: {seen}", hint=HINT)


def _boot(probed: tuple[Content, ...], root: Content) -> Content | None:
    for found in probed:
        if found is root or found.label != BOOT_LABEL:
            continue
        if found.type != "ext4":
            raise SourceError(f"/boot is {found.type}, which is not supported", hint=HINT)
        return found
    return None


def _examined(path: Path, found: Content, mount_point: str) -> Filesystem:
    offset = found.partition.offset
    if not _LABEL.fullmatch(found.label) or not _UUID.fullmatch(found.uuid):
        raise SourceError(
            f"the filesystem of partition {found.partition.number} of {path.name} has the label"
            f" {found.label!r} and the UUID {found.uuid!r}, which are not valid",
            hint=HINT,
        )
    superblock = ext4.superblock(path, offset)
    if superblock.blocks * superblock.block_size > found.partition.size:
        raise SourceError(
            f"the filesystem of partition {found.partition.number} of {path.name} is larger"
            " than the partition",
            hint="the image is truncated: download it from its publisher again",
        )
    ext4.check(path, offset)
    return Filesystem(
        partition=found.partition,
        type=found.type,
        uuid=found.uuid,
        label=found.label,
        superblock=superblock,
        mount_point=mount_point,
    )


def _os(path: Path, root_offset: int) -> OsRelease:
    # /etc/os-release is usually a link to the first, which debugfs does not follow.
    text = ext4.read_text(path, root_offset, ("/usr/lib/os-release", "/etc/os-release"))
    return parse_os_release(text)
