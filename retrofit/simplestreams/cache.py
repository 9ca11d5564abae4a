"""Downloaded items, by digest: whole ones to use again, partial ones to continue."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from retrofit.errors import SourceError
from retrofit.system.directories import make_directory
from retrofit.system.progress import Progress, silent
from retrofit.system.resource_errors import way_out

PART_LIFE = 7 * 86400.0
"""Seconds after which a partial download is deleted."""
ITEM = re.compile(r"[0-9a-f]{64}(\.part)?")
"""Names of items: their SHA-256; no other file is ours to delete."""
POLL = 0.5


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """Paths of an item: `whole` once its digest is verified, `part` before."""

    whole: Path
    part: Path

    def provide(self, path: Path) -> None:
        """Link the whole item to `path`, or copy it to another filesystem. Raises OSError."""
        os.utime(self.whole)
        try:
            os.link(self.whole, path)
        except OSError:
            shutil.copyfile(self.whole, path)


class Cache:
    """A directory of items, at most `limit` bytes between two downloads.

    Several processes may share it; one that wants an item waits while another downloads it.
    """

    def __init__(self, root: Path, *, limit: int) -> None:
        self._root = root
        self._limit = limit

    @contextmanager
    def entry(self, sha256: str, progress: Progress = silent) -> Iterator[CacheEntry]:
        """Lock an item for the length of the block. Raises SourceError."""
        with _source_errors(self._root):
            make_directory(self._root.parent)
            self._root.mkdir(exist_ok=True, mode=0o700)
        with self._locked(sha256, progress), _source_errors(self._root):
            yield CacheEntry(whole=self._root / sha256, part=self._root / f"{sha256}.part")

    def prune(self, *, room_for: int = 0) -> None:
        """Delete least recently used items until `room_for` more bytes fit below the limit."""
        budget = self._limit - room_for
        now = time.time()
        for path, facts in self._files():
            old = path.suffix == ".part" and now - facts.st_mtime > PART_LIFE
            budget -= facts.st_size
            if budget < 0 or old:
                budget += facts.st_size if self._delete(path) else 0

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        """Return items and partial downloads with their status, most recently used first."""
        found = []
        for path in self._root.glob("[0-9a-f]*"):
            with suppress(FileNotFoundError):
                if ITEM.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                    found.append((path, path.stat()))
        return sorted(found, key=lambda each: each[1].st_mtime, reverse=True)

    def _delete(self, path: Path) -> bool:
        """Delete an item unless a process uses it; return True if it is gone."""
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
                    # It ends: a transfer that stalls is given up.
                    progress("waiting for another download", None)
                    time.sleep(POLL)
            yield

    @contextmanager
    def _lock_file(self, sha256: str) -> Iterator[int]:
        """Open one of sixteen lock files; none is deleted, or two could be locked at once."""
        with _source_errors(self._root):
            lock = os.open(self._root / f"lock.{sha256[0]}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield lock
        finally:
            os.close(lock)


@contextmanager
def _source_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"cannot use the cache {root}: {error.strerror}",
            hint=way_out(error, "paths.cache"),
        ) from error
