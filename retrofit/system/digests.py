"""Digests of bytes that pass by: one pass, however many algorithms."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

ALGORITHMS = ("sha512", "sha256", "md5")
"""What Glance records of an image by default, and what simplestreams lists of an item."""

BLOCK = 1 << 20


class Digests:
    """The digests, and the number, of all bytes seen so far."""

    def __init__(self, also: Iterable[str] = ()) -> None:
        names = dict.fromkeys((*ALGORITHMS, *also))
        self._names = [name for name in names if name in hashlib.algorithms_available]
        self.clear()

    def clear(self) -> None:
        """Forget what was seen."""
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in self._names}
        self.size = 0

    def update(self, data: bytes) -> None:
        """Take in the next bytes."""
        for each in self._hashes.values():
            each.update(data)
        self.size += len(data)

    def update_from(self, path: Path) -> None:
        """Take in a whole file."""
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                self.update(block)

    def hex(self) -> Mapping[str, str]:
        """Return the digests by algorithm."""
        return {name: each.hexdigest() for name, each in self._hashes.items()}


def sha512_of(path: Path) -> str:
    """Return the sha512 of a whole file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()
