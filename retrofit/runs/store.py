"""Small records on the local disk: written whole or not at all, and read with tolerance."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from retrofit.places import make_place

VERSION = 1
"""Of the form of all records; one of another version is as good as none."""
LARGEST = 4 * 1024 * 1024
"""Bytes of a record; what is larger is none of ours."""


def directory_of(state: Path, target: str) -> Path:
    """Return where the records of a target are kept."""
    return state / "targets" / target


def read(path: Path) -> dict[str, Any] | None:
    """Read a record; None where there is none, or none that this version understands."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        record = json.loads(content) if len(content) <= LARGEST else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.pop("version", None) != VERSION:
        return None
    return record


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record so that a reader, or a power cut, finds the old one or the new one.

    Raises OSError.
    """
    write_text(path, json.dumps({"version": VERSION, **record}, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file as `write` does, with its directory where there is none. Raises OSError."""
    make_place(path.parent)
    sweep(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _opened(partial) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _opened(partial: Path) -> TextIO:
    """Make a file that no sweep takes for one that was left half written.

    Its lock is freed by our death: that tells the two apart.
    """
    while True:
        file = partial.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # a sweep came in between


def remove(path: Path) -> None:
    """Remove a record, if there is one. Raises OSError."""
    path.unlink(missing_ok=True)


def sweep(directory: Path) -> None:
    """Remove what writers that were killed left half written."""
    for partial in directory.glob(".*.[0-9]*"):
        with suppress(OSError), partial.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()
