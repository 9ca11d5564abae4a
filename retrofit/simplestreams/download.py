"""Getting a whole file in as many attempts as it takes, within bounds."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import BinaryIO, Protocol, Self

import structlog

from retrofit.deadline import deadline
from retrofit.digests import BLOCK, Digests
from retrofit.errors import MirrorError, SourceError
from retrofit.patience import LONGEST_WISH, InterruptedTransferError, pause, times
from retrofit.progress import Progress, silent
from retrofit.streams.transport import Body, OtherFileError, Transport

log = structlog.get_logger(__name__)

WORTHWHILE = 1 << 20
"""Bytes after which an attempt counts as one that brought something."""
MOST_ATTEMPTS = 100


class Sink(Protocol):
    """Where received bytes go."""

    @property
    def offset(self) -> int:
        """How many bytes are there already."""

    @property
    def validator(self) -> str | None:
        """What the server said of the file that they are from."""

    def begin(self, body: Body) -> None:
        """Make ready for bytes from `body.offset` on."""

    def write(self, block: bytes) -> None:
        """Take in the next bytes."""

    def end(self) -> None:
        """Raise InterruptedTransferError unless everything is there."""

    def forget(self) -> None:
        """Drop what is there."""


def receive(
    transport: Transport, url: str, sink: Sink, *, retries: int, until: float = math.inf
) -> None:
    """Fill `sink` from `url`, going on where an attempt broke off.

    `retries` is how many attempts in a row may bring nothing; `until` is when, by the monotonic
    clock, everything must be there. Raises SourceError.
    """
    failures = attempts = 0
    while True:
        begun = sink.offset
        attempts += 1
        try:
            with _ending(until):
                _attempt(transport, url, sink)
        except InterruptedTransferError as interruption:
            if isinstance(interruption, OtherFileError):
                sink.forget()
            failures = 1 if sink.offset >= begun + WORTHWHILE else failures + 1
            wait = pause(failures, interruption.wait)
            late = time.monotonic() + wait > until
            if failures > retries or attempts >= MOST_ATTEMPTS or wait > LONGEST_WISH or late:
                raise _given_up(url, attempts, interruption) from interruption
            log.warning("transfer interrupted", url=url, reason=str(interruption), wait=wait)
            sleep(wait)
        else:
            return


def _attempt(transport: Transport, url: str, sink: Sink) -> None:
    with transport.open(url, offset=sink.offset, validator=sink.validator) as body:
        sink.begin(body)
        for block in body.blocks:
            sink.write(block)
    sink.end()


@contextmanager
def _ending(until: float) -> Iterator[None]:
    """Raise InterruptedTransferError in the block when that time has come."""
    if math.isinf(until):
        yield
        return
    try:
        with deadline(until - time.monotonic()):
            yield
    except TimeoutError as error:
        raise InterruptedTransferError(str(error)) from error


def _given_up(url: str, attempts: int, last: InterruptedTransferError) -> SourceError:
    hint = "check that the mirror is reachable from here (mirror.proxy, mirror.timeout)"
    if last.wait is not None and last.wait > LONGEST_WISH:
        hint = f"the mirror asks to come back in {last.wait:.0f} seconds"
    return MirrorError(f"cannot fetch {url}, tried {times(attempts)}: {last}", hint=hint)


class Memory:
    """A small file, kept in memory; every attempt begins anew."""

    offset = 0
    validator = None

    def __init__(self, name: str, *, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._data = bytearray()
        self._total: int | None = None

    def begin(self, body: Body) -> None:
        """Start over."""
        self._data.clear()
        self._total = body.total
        self._require(body.total or 0)

    def write(self, block: bytes) -> None:
        """Keep a block. Raises SourceError when the file is too large to be what it should be."""
        self._require(len(self._data) + len(block))
        self._data += block

    def end(self) -> None:
        """Raise InterruptedTransferError when less came than was announced."""
        if self._total is not None and len(self._data) < self._total:
            raise InterruptedTransferError(f"{len(self._data)} of {self._total} bytes arrived")

    def forget(self) -> None:
        """Drop what is there."""
        self._data.clear()

    def content(self) -> bytes:
        """Return the whole file."""
        return bytes(self._data)

    def _require(self, size: int) -> None:
        if size > self._limit:
            raise SourceError(
                f"{self._name} has more than {self._limit >> 20} MiB",
                hint="check mirror.url: an index is much smaller",
            )


class Part:
    """A file on disk that grows, its digests with it; it may outlive this process.

    What an earlier process left at `path` is continued, when it came from the same address.
    `size` is in bytes, as the index says; not one byte more is written.
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
        """How many transfers, of this and earlier processes, made it what it is."""
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Find what is there already, and keep the file open for more."""
        with _told(self._path):
            self._continue()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file; what is in it stays, unless it was forgotten."""
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def offset(self) -> int:
        """How many bytes are there already."""
        return self.digests.size

    def begin(self, body: Body) -> None:
        """Go on at the end, or start over when the server does. Raises SourceError."""
        if body.total is not None and body.total != self._size:
            self.forget()
            raise SourceError(
                f"{self._url} has {body.total} bytes, the index says {self._size}",
                hint="the mirror is damaged, or is being changed just now: run again later",
            )
        if body.offset and self.validator and body.validator not in {self.validator, None}:
            raise OtherFileError("the file changed while it was being read")
        if body.offset != self.offset:
            log.warning("download starts over", url=self._url, had=self.offset)
            self.forget()
        self.pieces += 1
        self.validator = body.validator
        with _told(self._path):
            origin = {"url": self._url, "validator": body.validator, "pieces": self.pieces}
            self._origin.write_text(json.dumps(origin))
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)

    def write(self, block: bytes) -> None:
        """Append a block. Raises SourceError when it is more than there should be."""
        if self.offset + len(block) > self._size:
            self.forget()
            raise SourceError(
                f"{self._url} has more bytes than the {self._size} of the index",
                hint="the mirror is damaged, or is being changed just now: run again later",
            )
        if self._file is None:
            raise ValueError("a part takes blocks between begin and the end of its context")
        with _told(self._path):
            self._file.write(block)
        self.digests.update(block)
        self._progress("downloading the source", self.offset / self._size)

    def end(self) -> None:
        """Raise InterruptedTransferError when something is missing."""
        if self.offset < self._size:
            raise InterruptedTransferError(f"{self.offset} of {self._size} bytes arrived")

    def forget(self) -> None:
        """Drop what is there."""
        self._close()
        with _told(self._path):
            self._path.unlink(missing_ok=True)
            self._origin.unlink(missing_ok=True)
        self.digests.clear()
        self.validator, self.pieces = None, 0

    def finish(self, target: Path) -> None:
        """Move the file to its name, once it is safe on disk."""
        self._close()
        with _told(self._path):
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
            self.forget()
            return
        self._progress("checking what was downloaded before", None)
        with self._path.open("rb") as file:
            while block := file.read(BLOCK):
                self.digests.update(block)
        self.validator, self.pieces = validator, pieces


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"cannot write {error.filename or path}: {error.strerror}",
            hint="free some space, or set paths.cache and paths.work to larger filesystems",
        ) from error
