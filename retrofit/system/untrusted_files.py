"""Files in directories that others may write to: copied in before use, moved out without links.

The owner of such a directory may change a file, or what its name leads to, at any moment.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from io import FileIO
from pathlib import Path

from retrofit.errors import SourceError
from retrofit.system.environment import minimal_environment
from retrofit.system.process import CommandError, run
from retrofit.system.resource_errors import SHORTAGES, resource_shortage

PIECE = 4 * 1024 * 1024
STARTING = 60.0
SLOWEST = 1024 * 1024
"""Bytes a second; a copy that is slower has hung."""


def copy_in(source: Path, target: Path) -> None:
    """Copy a file into a directory of ours, sparse as far as it holds zeros.

    Raises SourceError when `source` is no file or cannot be read, OSError when there is no space.
    """
    try:
        # O_NONBLOCK: opening a fifo would wait for a writer.
        with FileIO(os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"{source} is not a file", hint="name an existing image file")
            target.touch(exist_ok=False)
            _copy(file.fileno(), status.st_size, target)
    except CommandError as error:
        raise SourceError(
            f"cannot copy {source}: {error.message}", hint="see that the file can be read whole"
        ) from error
    except OSError as error:
        if resource_shortage(error):
            raise
        raise SourceError(
            f"cannot read {source}: {error.strerror}", hint="run as root, or name another file"
        ) from error


def move_out(source: Path, target: Path) -> None:
    """Move a file of ours to such a directory; a link there is replaced. Raises OSError."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        try:
            source.rename(partial)
        except OSError:  # another filesystem
            with source.open("rb") as file, partial.open("xb") as copy:
                shutil.copyfileobj(file, copy, PIECE)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _copy(file: int, size: int, target: Path) -> None:
    """Copy an open file; its name may lead elsewhere by now. Raises CommandError, OSError."""
    opened = f"/proc/self/fd/{file}"
    argv = ["cp", "--reflink=auto", "--sparse=always", "--", opened, str(target)]
    limit = STARTING + size / SLOWEST
    try:
        run(argv, timeout=limit, env=minimal_environment(), keep_open=(file,))
    except CommandError as error:
        for number in SHORTAGES:
            if os.strerror(number) in error.stderr:
                raise OSError(number, os.strerror(number)) from error
        raise
