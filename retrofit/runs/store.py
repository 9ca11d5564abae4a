"""Small records on the local disk: written whole or not at all, and read with tolerance."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from retrofit.system.directories import make_directory

VERSION = 1
"""Of the form of all records; a record of another version is read as none."""
PARTIAL = ".retrofit-partial"
PARTIALS = re.compile(rf"\..+\.[0-9]+{re.escape(PARTIAL)}")
OLD_PARTIALS = re.compile(
    r"\.(report|schedule|chronicle|paused|failed-build|[0-9]{8}-[0-9a-f]{8})\.json\.[0-9]+"
)
"""Names in 0.1.0, which had no ending of their own: only those of its records."""
LARGEST = 4 * 1024 * 1024
"""Bytes of a record; a larger file is none of ours."""


def directory_of(state: Path, target: str) -> Path:
    """Return where the records of a target are kept."""
    return state / "targets" / target


def read(path: Path) -> dict[str, Any] | None:
    """Read a record; None for no record, a damaged one, and one of another version."""
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
    make_directory(path.parent)
    remove_partial(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with _opened(partial) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _opened(partial: Path) -> TextIO:
    """Make a file that `remove_partial` does not take for one that was left half written.

    Its lock is freed by our death: that is the difference.
    """
    while True:
        number = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        file = os.fdopen(number, "w")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # removed in between


def remove(path: Path) -> None:
    """Remove a record, if there is one. Raises OSError."""
    path.unlink(missing_ok=True)


def remove_partial(directory: Path) -> None:
    """Remove the files that killed writers left half written: by their names and a free lock."""
    for partial in directory.glob(".*"):
        if not is_partial(partial.name) or partial.is_symlink() or not partial.is_file():
            continue
        with suppress(OSError), partial.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def is_partial(name: str) -> bool:
    """Return True for the name of a file that one of our writers began."""
    return bool(PARTIALS.fullmatch(name) or OLD_PARTIALS.fullmatch(name))
