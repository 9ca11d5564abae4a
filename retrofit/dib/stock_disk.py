"""Block-device plugin for diskimage-builder: the source image's own disk instead of an empty one.

Partition table, ESP, BIOS boot partition and boot loader stay as the vendor made (and signed) them.
Only the partitions that are mounted become empty again, for new filesystems. Configuration:

    - stock_disk:
        name: image0              # the name that disk-image-create asks for
        image: /path/disk.raw     # changed in place
        free_space: 536870912     # bytes that must be free on / afterwards
        extents:                  # `/` first
          - {name: stock_root, slot: 0, mount_point: /, mkfs: "-b 4096 ..."}

Loop devices with an offset need neither kpartx nor a kernel that reads GPT: containers lack both.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diskimage_builder.block_device.exception import BlockDeviceSetupException
from diskimage_builder.block_device.plugin import NodeBase, PluginBase

from retrofit.dib import space
from retrofit.disk import gpt
from retrofit.system import process
from retrofit.system.privilege import as_root

logger = logging.getLogger(__name__)

TIMEOUT = 600.0


def _run_as_root(*argv: str | Path) -> str:
    try:
        return process.run(as_root(*argv), timeout=TIMEOUT).stdout
    except process.CommandError as error:
        raise BlockDeviceSetupException(f"stock_disk: {error}") from error


def _attach(image: Path, sector_size: int, *options: str) -> str:
    device = _run_as_root(
        "losetup", "--find", "--show", "--sector-size", str(sector_size), *options, image
    ).strip()
    logger.info("Attached %s as %s", image, device)
    return device


def _detach(device: str, image: Path) -> None:
    """Detach a loop device, unless its number belongs to another file by now."""
    backing = Path("/sys/block", Path(device).name, "loop", "backing_file")
    try:
        holds = backing.read_text().strip().removesuffix(" (deleted)")
    except OSError:
        return
    if holds == str(image):
        _run_as_root("losetup", "--detach", device)
        logger.info("Detached %s", device)


class _Node(NodeBase):  # type: ignore[misc]  # diskimage-builder publishes no types
    """A loop device over the disk or a part of it."""

    def __init__(self, name: str, image: Path, state: Any) -> None:
        super().__init__(name, state)
        self.image = image
        self.device: str | None = None

    def attached(self, *options: str, sector_size: int) -> None:
        """Attach the device, with its undo, and record it for the nodes that depend on it."""
        self.device = _attach(self.image, sector_size, *options)
        self.add_rollback(_detach, self.device, self.image)
        devices = self.state.setdefault("blockdev", {})
        devices[self.name] = {"device": self.device, "image": str(self.image)}

    def umount(self) -> None:
        """Detach; called again after a failure, possibly with nothing left to do."""
        if self.device is not None:
            _detach(self.device, self.image)
            self.device = None

    delete = umount


class DiskNode(_Node):
    """The whole disk: made large enough, its mounted partitions emptied.

    Its device is read-only, so that no element writes a boot loader over the vendor's.
    """

    def __init__(self, config: Mapping[str, Any], build_dir: Path, state: Any) -> None:
        super().__init__(config["name"], Path(config["image"]), state)
        self.extents: list[Mapping[str, Any]] = config["extents"]
        self.free_space = int(config["free_space"])
        self.tree = build_dir / "built"

    def get_edges(self) -> tuple[list[str], list[str]]:
        """Depend on nothing."""
        return [], []

    def create(self) -> None:
        """Fit the disk to the tree that was built, empty the partitions, attach the disk."""
        self.fit_to_tree()
        table = gpt.read(self.image)
        for extent in self.extents:
            partition = _in_slot(table, extent["slot"])
            # Blocks of the old filesystem would stay in the image for ever.
            _run_as_root(
                "fallocate", "--punch-hole", "--offset", str(partition.offset),
                "--length", str(partition.size), self.image,
            )  # fmt: skip
        self.attached("--read-only", sector_size=table.sector_size)

    def fit_to_tree(self) -> None:
        """Grow the disk if the tree needs more room."""
        inner = [extent["mount_point"] for extent in self.extents if extent["mount_point"] != "/"]
        for extent in self.extents:
            self._make_room(extent, inner)

    def _make_room(self, extent: Mapping[str, Any], inner: list[str]) -> None:
        mount_point = extent["mount_point"]
        table = gpt.read(self.image)
        partition = _in_slot(table, extent["slot"])
        tree = self.tree / mount_point.lstrip("/")
        without = [self.tree / other.lstrip("/") for other in inner if other != mount_point]
        try:
            content = space.content_size(tree, without=without)
            # Other filesystems hold what they held before, and are as large as they were.
            wanted = content + (self.free_space + space.LATE_WRITES if mount_point == "/" else 0)
            options = str(extent["mkfs"]).split()
            trial = self.image.with_name(f"{self.image.name}.trial")
            size = space.partition_size(wanted, partition.size, options, trial)
        except process.CommandError as error:
            raise BlockDeviceSetupException(f"stock_disk: {error}") from error
        logger.info(
            "%s: %d MiB of files, partition of %d MiB, needs %d MiB",
            mount_point, content >> 20, partition.size >> 20, size >> 20,
        )  # fmt: skip
        if size <= partition.size:
            return
        if mount_point != "/":
            raise BlockDeviceSetupException(
                f"stock_disk: {mount_point} needs {size >> 20} MiB, but its partition has"
                f" {partition.size >> 20} MiB; only the root partition can grow"
            )
        try:
            gpt.grow(self.image, partition, gpt.grown_size(table, partition, size))
        except ValueError as error:
            raise BlockDeviceSetupException(
                f"stock_disk: / needs {size >> 20} MiB, but {error}"
            ) from error


class ExtentNode(_Node):
    """One partition of the disk, as a device to make a filesystem on."""

    def __init__(self, disk: DiskNode, extent: Mapping[str, Any], state: Any) -> None:
        super().__init__(extent["name"], disk.image, state)
        self.base = disk.name
        self.slot = int(extent["slot"])

    def get_edges(self) -> tuple[list[str], list[str]]:
        """Depend on the disk, whose table has this partition's current place."""
        return [self.base], []

    def create(self) -> None:
        """Attach the partition's bytes of the disk."""
        table = gpt.read(self.image)
        partition = _in_slot(table, self.slot)
        self.attached(
            "--offset", str(partition.offset), "--sizelimit", str(partition.size),
            sector_size=table.sector_size,
        )  # fmt: skip


def _in_slot(table: gpt.Table, slot: int) -> gpt.Partition:
    for partition in table.partitions:
        if partition.slot == slot:
            return partition
    raise BlockDeviceSetupException(f"stock_disk: the disk has no partition {slot + 1}")


class StockDisk(PluginBase):  # type: ignore[misc]  # diskimage-builder publishes no types
    """The `stock_disk` entry of a block-device configuration."""

    def __init__(self, config: Mapping[str, Any], defaults: Mapping[str, Any], state: Any) -> None:
        super().__init__()
        disk = DiskNode(config, Path(defaults["build-dir"]), state)
        self.nodes = [disk, *(ExtentNode(disk, extent, state) for extent in disk.extents)]

    def get_nodes(self) -> list[NodeBase]:
        """Return the disk, then its partitions."""
        return list(self.nodes)
