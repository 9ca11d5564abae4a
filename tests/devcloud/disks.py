"""Disk images that tests and the demo change: as raw files, and mounted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from retrofit.disk import inspect
from retrofit.system import process

TIMEOUT = 600.0


@contextmanager
def opened(raw: Path) -> Iterator[Path]:
    """Mount a raw image's filesystems for writing for the length of the block."""
    mount_point = raw.with_suffix(".mounted")
    mount_point.mkdir()
    with ExitStack() as stack:
        stack.callback(mount_point.rmdir)
        for filesystem in inspect(raw).mounted:
            target = mount_point / filesystem.mount_point.lstrip("/")
            place = f"offset={filesystem.partition.offset},sizelimit={filesystem.partition.size}"
            process.run(["mount", "-o", f"loop,{place}", raw, target], timeout=TIMEOUT)
            stack.callback(process.run, ["umount", target], timeout=TIMEOUT)
        yield mount_point


def raw_copy(image: Path, disk_format: str, target: Path) -> Path:
    """Copy an image into a raw file that may be changed."""
    process.run(
        ["qemu-img", "convert", "-f", disk_format, "-O", "raw", "-W", image, target],
        timeout=TIMEOUT,
    )
    return target
