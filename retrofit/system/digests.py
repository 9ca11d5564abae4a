"""Digests of a stream of bytes: one pass for all algorithms."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

ALGORITHMS = ("sha512", "sha256", "md5")
"""Those that Glance records of an image by default, and that simplestreams lists of an item."""

BLOCK = 1 << 20


class Digests:
    """The digests and the number of all bytes so far."""

    def __init__(self, also: Iterable[str] = ()) -> None:
        names = dict.fromkeys((*ALGORITHMS, *also))
        self._names = [name for name in names if name in hashlib.algorithms_available]
        self.clear()

    def clear(self) -> None:
        """Start again with no bytes."""
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in self._names}
        self.size = 0

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        for each in self._hashes.values():
            each.update(data)
        self.size += len(data)

    def update_from(self, path: Path) -> None:
        """Add a whole file. Raises OSError."""
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                self.update(block)

    def hex(self) -> Mapping[str, str]:
        """Return the digests in hex, by algorithm."""
        return {name: each.hexdigest() for name, each in self._hashes.items()}


def sha512_of(path: Path) -> str:
    """Return the sha512 of a whole file, in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


END = 1 << 16
"""Bytes of a first and a last block."""


def ends_of(path: Path) -> str:
    """Return the digest of a file's first and last block, as `sha256:...`; see `digest_of_ends`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(END)
        file.seek(max(0, size - END))
        return digest_of_ends(first, file.read(END))


def digest_of_ends(first: bytes, last: bytes) -> str:
    """Return the digest of two blocks, one after the other; of a small file they are the same."""
    return f"sha256:{hashlib.sha256(first + last).hexdigest()}"
