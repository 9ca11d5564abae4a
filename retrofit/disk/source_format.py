"""What format a file of unknown origin has, decided before any tool opens it."""

from __future__ import annotations

from pathlib import Path

from oslo_utils.imageutils import format_inspector

from retrofit.errors import SourceError

# The inspector calls a raw disk by the partition table it sees.
_RAW = ("raw", "gpt")


def source_format(path: Path) -> str:
    """Say `qcow2` or `raw`. Raises SourceError for everything else, and for a qcow2 file that
    refers to other files or uses features that nobody here knows.
    """
    if not path.is_file():
        raise SourceError(f"source {path} is not a file", hint="name an existing image file")
    try:
        inspector = format_inspector.detect_file_format(str(path))
    except (format_inspector.ImageFormatError, OSError) as error:
        raise SourceError(
            f"source {path} is not a disk image that can be trusted: {error}",
            hint="take the image from its publisher once more",
        ) from error
    name = str(inspector)
    if name in _RAW:
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
            hint="a stock image is one self-contained file: flatten it with"
            " qemu-img convert -O qcow2, on a machine that trusts it",
        ) from error
    _refuse_encryption(path)
    return "qcow2"


def _reasons(error: Exception) -> str:
    failures = getattr(error, "failures", None)
    if isinstance(failures, dict):
        return "; ".join(str(reason) for reason in failures.values())
    return str(error)


def _refuse_encryption(path: Path) -> None:
    # Bytes 32 to 35 of a qcow2 header: crypt_method (QEMU, docs/interop/qcow2.txt).
    with path.open("rb") as file:
        header = file.read(36)
    if header[32:36] != bytes(4):
        raise SourceError(
            f"source {path} is refused: Image is encrypted",
            hint="decrypt it with qemu-img convert first",
        )
