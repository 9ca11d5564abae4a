"""How to read a file of a mirror in one attempt, and the transport for a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from retrofit.errors import MirrorError
from retrofit.system.http_body import BLOCK, InterruptedTransferError


class FileChangedError(InterruptedTransferError):
    """The bytes received so far are not of the file that the mirror has now."""


class NotFoundError(MirrorError):
    """The mirror has no such file."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """The bytes of a file from `offset` on.

    `total` is the size of the whole file in bytes, if known. `validator` changes with the file;
    None if the mirror sends none.
    """

    blocks: Iterator[bytes]
    offset: int
    total: int | None
    validator: str | None


class Transport(Protocol):
    """A way to read a file from any offset."""

    def open(self, url: str, *, offset: int, validator: str | None) -> AbstractContextManager[Body]:
        """Open a file at `offset`, or at its beginning when `validator` does not match.

        Raises NotFoundError, MirrorError, or InterruptedTransferError when another attempt may
        succeed.
        """


class DirectoryTransport:
    """A mirror on a local or mounted filesystem."""

    @contextmanager
    def open(self, url: str, *, offset: int, validator: str | None) -> Iterator[Body]:
        """Open a file; see Transport."""
        path = Path(unquote(urlsplit(url).path))
        try:
            file = path.open("rb")
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no {path}", hint="check mirror.url") from error
        except OSError as error:
            raise _unreadable(path, error) from error
        with file:
            file.seek(offset)
            size = os.fstat(file.fileno()).st_size
            yield Body(blocks=_blocks(file, path), offset=offset, total=size, validator=validator)


def _blocks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        while block := file.read(BLOCK):
            yield block
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> MirrorError:
    return MirrorError(
        f"cannot read {path}: {error.strerror}", hint="check mirror.url and its rights"
    )
