"""Downloaded items, by their digest: whole ones to use again, parts to go on with."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from retrofit.errors import SourceError
from retrofit.places import make_place
from retrofit.progress import Progress, silent

PART_LIFE = 7 * 86400.0
"""Seconds after which nobody will go on with a part of a download."""
POLL = 0.5


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an item is kept: `whole` once it was seen to be right, `part` before."""

    whole: Path
    part: Path

    def hand_over(self, path: Path) -> None:
        """Give the whole item another name, or another copy where that is on another disk."""
        os.utime(self.whole)
        try:
            os.link(self.whole, path)
        except OSError:
            shutil.copyfile(self.whole, path)


class Cache:
    """A directory of items, at most `limit` bytes between two downloads.

    Several processes may share it; what one of them writes, others wait for.
    """

    def __init__(self, root: Path, *, limit: int) -> None:
        self._root = root
        self._limit = limit

    @contextmanager
    def place(self, sha256: str, progress: Progress = silent) -> Iterator[Place]:
        """Hold an item's place for the length of the block. Raises SourceError."""
        with _told(self._root):
            make_place(self._root.parent)
            self._root.mkdir(exist_ok=True, mode=0o700)
        with self._locked(sha256, progress), _told(self._root):
            yield Place(whole=self._root / sha256, part=self._root / f"{sha256}.part")

    def prune(self, *, room_for: int = 0) -> None:
        """Delete what was used longest ago until the limit holds with `room_for` bytes more."""
        budget = self._limit - room_for
        now = time.time()
        for path, facts in self._files():
            old = path.suffix == ".part" and now - facts.st_mtime > PART_LIFE
            budget -= facts.st_size
            if budget < 0 or old:
                budget += facts.st_size if self._delete(path) else 0

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        """List items and parts, the one that was used last first."""
        found = []
        for path in self._root.glob("[0-9a-f]*"):
            with suppress(FileNotFoundError):
                if path.suffix in {"", ".part"} and path.is_file():
                    found.append((path, path.stat()))
        return sorted(found, key=lambda each: each[1].st_mtime, reverse=True)

    def _delete(self, path: Path) -> bool:
        """Delete an item unless somebody is at work on it, and say whether it is gone."""
        with self._lock_file(path.name) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".from").unlink(missing_ok=True)
        return True

    @contextmanager
    def _locked(self, sha256: str, progress: Progress) -> Iterator[None]:
        with self._lock_file(sha256) as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    # It ends: a transfer that brings nothing is given up.
                    progress("waiting for another download", None)
                    time.sleep(POLL)
            yield

    @contextmanager
    def _lock_file(self, sha256: str) -> Iterator[int]:
        """Open one of sixteen files that are never deleted, and so never locked in vain."""
        with _told(self._root):
            lock = os.open(self._root / f"lock.{sha256[0]}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield lock
        finally:
            os.close(lock)


@contextmanager
def _told(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"cannot use the cache {root}: {error.strerror}",
            hint="run as root, or set paths.cache",
        ) from error
