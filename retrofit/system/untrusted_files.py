"""Files in directories that others may write to: taken in as copies, put out through no link.

Whoever owns such a directory may change a file, or what a name leads to, between any two looks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from retrofit.errors import SourceError
from retrofit.shortage import shortage

FICLONE = 0x40049409
"""From linux/fs.h: share the blocks of another file, where the filesystem can."""
PIECE = 4 * 1024 * 1024


def take_in(source: Path, target: Path) -> None:
    """Copy a file into a directory of ours; what is sparse stays so.

    Raises SourceError for what is no file, or cannot be read; OSError where there is no room.
    """
    try:
        # A fifo in the file's place must not be waited for.
        with FileIO(os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SourceError(f"{source} is not a file", hint="name an existing image file")
            with target.open("xb") as copy:
                _copy(file, copy)
    except OSError as error:
        if shortage(error):
            raise
        raise SourceError(
            f"cannot read {source}: {error.strerror}", hint="run as root, or name another file"
        ) from error


def put_out(source: Path, target: Path) -> None:
    """Move a file of ours to where others may write; a link there is replaced. Raises OSError."""
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


def _copy(file: FileIO, copy: BinaryIO) -> None:
    with suppress(OSError):
        fcntl.ioctl(copy, FICLONE, file.fileno())
        return
    copy.truncate(os.fstat(file.fileno()).st_size)
    for begin, end in _extents(file.fileno()):
        file.seek(begin)
        copy.seek(begin)
        while piece := file.read(min(PIECE, end - file.tell())):
            copy.write(piece)


def _extents(file: int) -> Iterator[tuple[int, int]]:
    """Yield where data begins and ends; holes lie between."""
    end = 0
    while True:
        try:
            begin = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no more of it
                return
            raise
        end = os.lseek(file, begin, os.SEEK_HOLE)
        yield begin, end
