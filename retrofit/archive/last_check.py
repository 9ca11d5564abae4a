"""What the last check of an image found: it stands as long as indexes and evidence are the same."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from retrofit.archive.offer import Update
from retrofit.documents import Document, ExactTime

LARGEST = 8 << 20


class LastCheck(Document):
    """The last check, and what has been seen of the archive so far."""

    format: Literal[2] = 2
    key: str = ""
    """Digest of what was asked, and of the indexes that answered."""
    lists: str = ""
    """Digest of apt's copies of the indexes."""
    seen: dict[str, ExactTime] = Field(default_factory=dict)
    """Newest date of each index, by its file name."""
    updates: tuple[Update, ...] = ()
    lacking: tuple[str, ...] = ()
    """apt's notes about indexes that the archive does not have. It is silent the next time."""
    advisories_key: str = ""
    """Digest of the advisories that were read, and of what they were read for."""
    ids: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """What they named: key of an update, and the ids of what it fixes."""


def recall(file: Path) -> LastCheck:
    """Return the last check; an empty one for a file that is damaged, or not ours."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return LastCheck()
    with os.fdopen(descriptor, "rb") as opened:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return LastCheck()
        data = opened.read(LARGEST)
    try:
        return LastCheck.model_validate_json(data)
    except (ValidationError, ValueError, RecursionError):
        return LastCheck()


def remember(file: Path, check: LastCheck) -> None:
    """Write the last check, whole or not at all. Raises OSError."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with part.open("x") as opened:
            os.fchmod(opened.fileno(), 0o600)
            opened.write(check.model_dump_json())
        if file.is_dir() and not file.is_symlink():
            file.rmdir()
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
