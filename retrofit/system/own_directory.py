"""Which directories are retrofit's own: those that carry its marker file.

A name proves nothing: somebody's mirror of noble may lie in `paths.work/noble`. So a directory of
`paths.*` gets a marker at its first use, and only while it is empty, or holds nothing but what
release 0.1.0 left there. Every other directory is refused by name, and left as it is.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from retrofit.errors import ConfigError
from retrofit.system.directories import make_directory

MARKER = ".retrofit"
VERSION = 1
"""Of the form of the marker."""
LARGEST = 64 * 1024
"""Bytes of a marker; a larger file is none."""
NAMED = 3
"""Number of foreign entries that a message names."""

Purpose = Literal["state", "work", "logs", "cache"]

PREEXISTING = frozenset({"lost+found"})
"""What a new file system has in it: a container's volume, a disk of its own."""
PART = re.compile(rf"{re.escape(MARKER)}\.[0-9a-f]{{8}}")
"""Names of markers in the making."""

RUN_ID = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}"
"""Pattern of the ids of runs, by which their directories are named."""
_LOCK = ".lock"


def claim(path: Path, purpose: Purpose, *, known: Collection[str] = ()) -> str:
    """Make a directory retrofit's own, or find that it is, and return its random id.

    `known` are names of entries that may be there besides those of 0.1.0. Raises ConfigError for a
    directory that is somebody else's or has another purpose, OSError where it cannot be used.
    """
    make_directory(path)
    found = _read(path, purpose)
    if found is None:
        _require_own(path, purpose, known)
        _write(path, purpose)
        # Another process may have been first: its marker counts.
        found = _read(path, purpose)
    if found is None:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(path / MARKER))
    return found


def check(path: Path, purpose: Purpose, *, known: Collection[str] = ()) -> None:
    """Raise the ConfigError that `claim` would, and change nothing.

    A directory that does not exist or cannot be read passes.
    """
    with suppress(OSError):
        if path.is_dir() and _read(path, purpose) is None:
            _require_own(path, purpose, known)


def directory_id(path: Path, purpose: Purpose) -> str | None:
    """Return the id of an own directory; None for one without a marker for this purpose."""
    try:
        return _read(path, purpose)
    except (OSError, ConfigError):
        return None


def is_own(path: Path, purpose: Purpose) -> bool:
    """Return True for a directory with the marker of this purpose."""
    return directory_id(path, purpose) is not None


def _read(path: Path, purpose: Purpose) -> str | None:
    """Return the id in a marker; None for no marker, and for an empty one: a person's word.

    Raises ConfigError for one of another purpose, and for a damaged one.
    """
    marker = path / MARKER
    try:
        opened = os.open(marker, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _damaged(path) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise _damaged(path)
        content = os.read(opened, LARGEST + 1)
    finally:
        os.close(opened)
    if not content.strip():
        return None
    try:
        record = json.loads(content) if len(content) <= LARGEST else None
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        raise _damaged(path)
    if record.get("purpose") != purpose:
        raise ConfigError(
            f"{path} is marked as the directory paths.{record.get('purpose')} of a retrofit,"
            f" not as paths.{purpose}",
            hint=f"set paths.{purpose} to another directory",
        )
    return str(record["id"])


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        f"{path / MARKER} is not a marker of retrofit",
        hint=f"if {path} is retrofit's alone, delete the file and create an empty one in its place",
    )


def _require_own(path: Path, purpose: Purpose, known: Collection[str]) -> None:
    """Raise ConfigError unless a directory without an id may become retrofit's."""
    if (path / MARKER).exists():  # an empty one
        return
    ours = OF_0_1_0[purpose]
    foreign = sorted(
        entry.name
        for entry in path.iterdir()
        if entry.name not in PREEXISTING
        and entry.name not in known
        and not PART.fullmatch(entry.name)
        and not ours(entry)
    )
    if foreign:
        more = f" and {len(foreign) - NAMED} more" if len(foreign) > NAMED else ""
        raise ConfigError(
            f"paths.{purpose} is {path}, which is not empty and has no marker of retrofit:"
            f" {', '.join(foreign[:NAMED])}{more} is not retrofit's",
            hint=f"set paths.{purpose} to a directory of its own; if {path} is retrofit's alone,"
            f" create an empty file {path / MARKER}",
        )


def _write(path: Path, purpose: Purpose) -> None:
    """Write a marker whole, or not at all where another process was first. Raises OSError."""
    record = {
        "id": str(uuid.uuid4()),
        "purpose": purpose,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": VERSION,
    }
    marker = path / MARKER
    part = path / f"{MARKER}.{secrets.token_hex(4)}"
    try:
        with part.open("x") as file:
            file.write(json.dumps(record, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, marker)
        except FileExistsError:
            if marker.stat().st_size == 0:  # a person's word
                part.replace(marker)
    finally:
        part.unlink(missing_ok=True)


def _in_state(entry: Path) -> bool:
    """Return True for what 0.1.0 left in `paths.state`."""
    if entry.name in {"targets", "locks", "work"}:
        return _is_directory(entry)
    files = (
        r"worker\.(lock|toml|partial)|schedule\.json|outbox\.(next|lock)|\.schedule\.json\.[0-9]+"
    )
    return re.fullmatch(files, entry.name) is not None and _is_file(entry)


def _in_work(entry: Path) -> bool:
    """Return True for what 0.1.0 left in `paths.work`: a directory a target, its runs' in it."""
    if not _is_directory(entry):
        return False
    if entry.name == ".shelf":
        return all(_is_directory(each) for each in entry.iterdir())
    return re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", entry.name) is not None and all(
        _is_directory(each) and (each.name.startswith(".retrofit-new-") or (each / _LOCK).exists())
        for each in entry.iterdir()
    )


def _in_logs(entry: Path) -> bool:
    """Return True for what 0.1.0 left in `paths.logs`."""
    return re.fullmatch(f"(verify-)?{RUN_ID}", entry.name) is not None and _is_directory(entry)


def _in_cache(entry: Path) -> bool:
    """Return True for what 0.1.0 left in `paths.cache`."""
    return entry.name in {"packages", "sources"} and _is_directory(entry)


def _is_directory(entry: Path) -> bool:
    return entry.is_dir() and not entry.is_symlink()


def _is_file(entry: Path) -> bool:
    return entry.is_file() and not entry.is_symlink()


OF_0_1_0: Mapping[Purpose, Callable[[Path], bool]] = {
    "state": _in_state,
    "work": _in_work,
    "logs": _in_logs,
    "cache": _in_cache,
}
"""How what release 0.1.0 left in a directory, which had no markers, is recognised."""
