"""The format of an untrusted image file, decided before any tool opens it."""

from __future__ import annotations

import struct
from pathlib import Path

from oslo_utils.imageutils import format_inspector

from retrofit.errors import SourceError

# The inspector calls a raw disk by the partition table it sees.
_RAW = ("raw", "gpt")
MAX_VIRTUAL_SIZE = 256 * 1024**3
"""Bytes. The disk of a source image has a few GiB; a larger one is refused without a try."""
_QCOW2_SIZE = 24
_QCOW2_CRYPT = 32
_QCOW2_SNAPSHOTS = 60


def source_format(path: Path) -> str:
    """Return `qcow2` or `raw`.

    Raises SourceError for everything else, and for a qcow2 file that refers to other files or uses
    unknown features.
    """
    if not path.is_file():
        raise SourceError(f"source {path} is not a file", hint="name an existing image file")
    try:
        inspector = format_inspector.detect_file_format(str(path))
    except (format_inspector.ImageFormatError, OSError) as error:
        raise SourceError(
            f"source {path} is not a safe disk image: {error}",
            hint="download the image from its publisher again",
        ) from error
    name = str(inspector)
    if name in _RAW:
        _require_size(path, path.stat().st_size)
        return "raw"
    if name != "qcow2":
        raise SourceError(
            f"source {path} is {name}, which is not supported",
            hint=f"convert it: qemu-img convert -f {name} -O qcow2 ...",
        )
    try:
        inspector.safety_check()
    except (format_inspector.SafetyCheckFailed, format_inspector.ImageFormatError) as error:
        raise SourceError(
            f"source {path} is refused: {_reasons(error)}",
            hint="a source image is one self-contained file: flatten it with"
            " qemu-img convert -O qcow2, on a machine that trusts it",
        ) from error
    _refuse_unusual_features(path)
    return "qcow2"


def require_uploadable(disk: Path) -> None:
    """Raise SourceError for a raw disk whose partition table Glance and Nova refuse.

    Both ask the inspector that is asked here, and answer 415 after a build. It looks at the
    protective MBR, which firmware and kernels mostly do not.
    """
    try:
        inspector = format_inspector.detect_file_format(str(disk))
        if str(inspector) == "gpt":
            inspector.safety_check()
    except (
        format_inspector.SafetyCheckFailed,
        format_inspector.ImageFormatError,
        OSError,
    ) as error:
        raise SourceError(
            "Glance will refuse the image: the disk of its source has a partition table that is"
            f" not safe: {_reasons(error)}",
            hint='set build.format = "qcow2", of which Glance inspects the outer format alone, or'
            " use another source image",
        ) from error


def _reasons(error: Exception) -> str:
    failures = getattr(error, "failures", None)
    if isinstance(failures, dict):
        return "; ".join(str(reason) for reason in failures.values())
    return str(error)


def _refuse_unusual_features(path: Path) -> None:
    """Check the rest of a qcow2 header (QEMU, docs/interop/qcow2.txt). Raises SourceError."""
    with path.open("rb") as file:
        header = file.read(104).ljust(104, b"\0")
    if struct.unpack_from(">I", header, _QCOW2_CRYPT) != (0,):
        raise SourceError(
            f"source {path} is refused: Image is encrypted",
            hint="decrypt it with qemu-img convert first",
        )
    if struct.unpack_from(">I", header, _QCOW2_SNAPSHOTS) != (0,):
        raise SourceError(
            f"source {path} is refused: Image has internal snapshots",
            hint="flatten it with qemu-img convert -O qcow2, on a machine that trusts it",
        )
    _require_size(path, *struct.unpack_from(">Q", header, _QCOW2_SIZE))


def _require_size(path: Path, size: int) -> None:
    if size > MAX_VIRTUAL_SIZE:
        raise SourceError(
            f"source {path} is refused: its disk has {size >> 30} GiB, more than"
            f" {MAX_VIRTUAL_SIZE >> 30} GiB",
            hint="download a source image from its publisher",
        )
