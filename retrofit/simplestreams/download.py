"""Downloading a whole file in several attempts, within bounds."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, Self

import structlog

from retrofit.errors import MirrorError, SourceError
from retrofit.simplestreams.transport import Body, FileChangedError, Transport
from retrofit.system.deadline import deadline
from retrofit.system.digests import BLOCK, Digests
from retrofit.system.http_body import InterruptedTransferError
from retrofit.system.progress import Progress, silent
from retrofit.system.retry import LONGEST_RETRY_AFTER, Retryable, call_with_retries, times

log = structlog.get_logger(__name__)

PROGRESS = 1 << 20
"""Bytes that make an attempt count as progress."""


class Sink(Protocol):
    """Where received bytes go."""

    @property
    def offset(self) -> int:
        """How many bytes are stored already."""

    @property
    def validator(self) -> str | None:
        """The entity tag, or date, of the file that they are from."""

    def begin(self, body: Body) -> None:
        """Prepare for bytes from `body.offset` on."""

    def write(self, block: bytes) -> None:
        """Store the next bytes."""

    def end(self) -> None:
        """Raise InterruptedTransferError unless the file is complete."""

    def discard(self) -> None:
        """Delete the bytes that are stored."""


def receive(
    transport: Transport, url: str, sink: Sink, *, retries: int, until: float = math.inf
) -> None:
    """Fill `sink` from `url`; each attempt continues where the one before was interrupted.

    `retries` is how many attempts in a row may fail without progress; `until`, a time of the
    monotonic clock, is when the file must be complete. Raises SourceError.
    """
    attempts = before = 0

    def attempt() -> None:
        nonlocal attempts, before
        attempts, before = attempts + 1, sink.offset
        with _ending_at(until):
            _attempt(transport, url, sink)

    def classify(error: Exception) -> Retryable | None:
        if not isinstance(error, InterruptedTransferError):
            return None
        if isinstance(error, FileChangedError):
            sink.discard()
        return Retryable(wait=error.wait, progress=sink.offset >= before + PROGRESS)

    try:
        call_with_retries(
            attempt, classify, retries=retries, until=until, event="transfer interrupted", url=url
        )
    except InterruptedTransferError as interruption:
        raise _failure(url, attempts, interruption) from interruption


def _attempt(transport: Transport, url: str, sink: Sink) -> None:
    with transport.open(url, offset=sink.offset, validator=sink.validator) as body:
        sink.begin(body)
        for block in body.blocks:
            sink.write(block)
    sink.end()


@contextmanager
def _ending_at(until: float) -> Iterator[None]:
    """Raise InterruptedTransferError in the block at `until`."""
    if math.isinf(until):
        yield
        return
    try:
        with deadline(until - time.monotonic()):
            yield
    except TimeoutError as error:
        raise InterruptedTransferError(str(error)) from error


def _failure(url: str, attempts: int, last: InterruptedTransferError) -> SourceError:
    hint = "check that the mirror is reachable from here (mirror.proxy, mirror.timeout)"
    if last.wait is not None and last.wait > LONGEST_RETRY_AFTER:
        hint = f"the mirror asks to wait {last.wait:.0f} seconds: run again later"
    return MirrorError(f"cannot fetch {url}, tried {times(attempts)}: {last}", hint=hint)


class MemorySink:
    """A small file, kept in memory; every attempt starts again."""

    offset = 0
    validator = None

    def __init__(self, name: str, *, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._data = bytearray()
        self._total: int | None = None

    def begin(self, body: Body) -> None:
        """Start with an empty file. Raises SourceError when it is announced as too large."""
        self._data.clear()
        self._total = body.total
        self._require(body.total or 0)

    def write(self, block: bytes) -> None:
        """Store a block. Raises SourceError when the file exceeds its limit."""
        self._require(len(self._data) + len(block))
        self._data += block

    def end(self) -> None:
        """Raise InterruptedTransferError when fewer bytes arrived than were announced."""
        if self._total is not None and len(self._data) < self._total:
            raise InterruptedTransferError(f"{len(self._data)} of {self._total} bytes arrived")

    def discard(self) -> None:
        """Delete the bytes that are stored."""
        self._data.clear()

    def content(self) -> bytes:
        """Return the file."""
        return bytes(self._data)

    def _require(self, size: int) -> None:
        if size > self._limit:
            raise SourceError(
                f"{self._name} has more than {self._limit >> 20} MiB",
                hint="check mirror.url: an index is much smaller",
            )


class PartialFile:
    """A file on disk that a download appends to, with its digests.

    A partial file that an earlier process left at `path` is continued if it is from the same
    address. `size` is in bytes, from the index; no more are written.
    """

    def __init__(
        self, path: Path, *, url: str, size: int, digests: Digests, progress: Progress = silent
    ) -> None:
        self._path = path
        self._origin = path.with_name(path.name + ".from")
        self._url = url
        self._size = size
        self._progress = progress
        self.digests = digests
        self.validator: str | None = None
        self.pieces = 0
        """How many transfers, of this and earlier processes, it consists of."""
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Read what is stored already. Raises SourceError."""
        with _source_errors(self._path):
            self._continue()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file; it stays on disk unless it was discarded."""
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def offset(self) -> int:
        """How many bytes are stored already."""
        return self.digests.size

    def begin(self, body: Body) -> None:
        """Continue at the end, or start again when the server does. Raises SourceError."""
        if body.total is not None and body.total != self._size:
            self.discard()
            raise SourceError(
                f"{self._url} has {body.total} bytes, the index lists {self._size}",
                hint="the mirror is damaged or is being updated: run again later",
            )
        if body.offset and self.validator and body.validator not in {self.validator, None}:
            raise FileChangedError("the file changed during the download")
        if body.offset != self.offset:
            log.warning("download starts again", url=self._url, discarded=self.offset)
            self.discard()
        self.pieces += 1
        self.validator = body.validator
        with _source_errors(self._path):
            origin = {"url": self._url, "validator": body.validator, "pieces": self.pieces}
            self._origin.write_text(json.dumps(origin))
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)

    def write(self, block: bytes) -> None:
        """Append a block. Raises SourceError when the file becomes larger than its size."""
        if self.offset + len(block) > self._size:
            self.discard()
            raise SourceError(
                f"{self._url} has more bytes than the {self._size} of the index",
                hint="the mirror is damaged or is being updated: run again later",
            )
        if self._file is None:
            raise ValueError("write() before begin(), or after the end of the context")
        with _source_errors(self._path):
            self._file.write(block)
        self.digests.update(block)
        self._progress("downloading the source", self.offset / self._size)

    def end(self) -> None:
        """Raise InterruptedTransferError when bytes are missing."""
        if self.offset < self._size:
            raise InterruptedTransferError(f"{self.offset} of {self._size} bytes arrived")

    def discard(self) -> None:
        """Delete the bytes that are stored."""
        self._close()
        with _source_errors(self._path):
            self._path.unlink(missing_ok=True)
            self._origin.unlink(missing_ok=True)
        self.digests.clear()
        self.validator, self.pieces = None, 0

    def finish(self, target: Path) -> None:
        """Move the file to `target`, once it is on disk. Raises SourceError."""
        self._close()
        with _source_errors(self._path):
            with self._path.open("rb+") as file:
                os.fsync(file.fileno())
            self._path.replace(target)
            self._origin.unlink(missing_ok=True)

    def _continue(self) -> None:
        try:
            known = json.loads(self._origin.read_text())
            same = known["url"] == self._url and self._path.stat().st_size <= self._size
            validator, pieces = known["validator"], int(known["pieces"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            same, validator, pieces = False, None, 0
        if not same:
            self.discard()
            return
        self._progress("verifying the partial download", None)
        with self._path.open("rb") as file:
            while block := file.read(BLOCK):
                self.digests.update(block)
        self.validator, self.pieces = validator, pieces


@contextmanager
def _source_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"cannot write {error.filename or path}: {error.strerror}",
            hint="free some space, or set paths.cache and paths.work to larger filesystems",
        ) from error
