"""Small records on the local disk: written whole or not at all, and read with tolerance."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VERSION = 1
"""Of the form of all records; one of another version is as good as none."""


def directory_of(state: Path, target: str) -> Path:
    """Return where the records of a target are kept."""
    return state / "targets" / target


def read(path: Path) -> dict[str, Any] | None:
    """Read a record; None where there is none, or none that this version understands."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.pop("version", None) != VERSION:
        return None
    return record


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record so that a reader, or a power cut, finds the old one or the new one.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w") as file:
            json.dump({"version": VERSION, **record}, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a record, if there is one. Raises OSError."""
    path.unlink(missing_ok=True)
