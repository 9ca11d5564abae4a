"""The image's files, read in place: a raw copy, mounted read-only through loop devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from retrofit.disk import StockDisk, inspect, qemu_img
from retrofit.errors import VerifyError
from retrofit.system import process

log = structlog.get_logger(__name__)

MOUNT_TIMEOUT = 60.0
OPTIONS = "ro,noload,nosuid,nodev,noexec"
"""`noload`: replaying the journal would write; the image was unmounted when it was made."""


@dataclass(frozen=True, kw_only=True)
class MountedImage:
    """An image whose filesystems are mounted below `root`, and the layout of its disk."""

    root: Path
    disk: StockDisk


@contextmanager
def mounted_image(image: Path, disk_format: str, work_dir: Path) -> Iterator[MountedImage]:
    """Mount the image's filesystems below `work_dir` for the length of the block.

    The image file itself is only read. Raises SourceError when it has no filesystems that an
    amphora image has, VerifyError when this machine cannot copy or mount them.
    """
    raw, root = work_dir / "image.raw", work_dir / "root"
    root.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(raw.unlink, missing_ok=True)
        try:
            qemu_img.convert(image, disk_format, raw, "raw")
        except process.CommandError as error:
            raise VerifyError(
                f"{image.name} cannot be read as {disk_format}: {error}",
                hint="check its format, and that paths.work has room for a raw copy",
            ) from error
        disk = inspect(raw)
        for filesystem in disk.mounted:
            target = root / filesystem.mount_point.lstrip("/")
            # mount(8) would follow a link of the image to a directory of this host.
            if target.is_symlink() or not target.is_dir():
                raise VerifyError(
                    f"{filesystem.mount_point} of {image.name} is not a directory, so that nothing"
                    " can be mounted there",
                    hint="an amphora image has a directory for each of its filesystems",
                )
            offset, size = filesystem.partition.offset, filesystem.partition.size
            options = f"{OPTIONS},loop,offset={offset},sizelimit={size}"
            try:
                process.run(
                    ["mount", "-t", filesystem.type, "-o", options, raw, target],
                    timeout=MOUNT_TIMEOUT,
                )
            except process.CommandError as error:
                raise VerifyError(
                    f"{filesystem.mount_point} of {image.name} cannot be mounted: {error}",
                    hint="offline verification needs root and loop devices",
                ) from error
            stack.callback(_unmount, target)
        yield MountedImage(root=root, disk=disk)


def _unmount(target: Path) -> None:
    try:
        process.run(["umount", target], timeout=MOUNT_TIMEOUT)
    except process.CommandError as error:
        log.warning("cannot unmount", target=str(target), reason=str(error))
