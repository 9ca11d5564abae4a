"""Long commands: their output goes to a log file, within limits of time and size."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from retrofit.system import process
from retrofit.system.process import Child, CommandError, OutOfTimeError, TooMuchOutputError

LONGEST_LINE = 64 * 1024
MOST_OUTPUT = 64 * 1024 * 1024
"""Bytes that a long command may write to its log; a build writes a few MiB."""


def run_logged(
    argv: Sequence[str | Path],
    *,
    log_file: Path,
    timeout: float,
    env: Mapping[str, str],
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    lifeline: bool = False,
    most: int = MOST_OUTPUT,
) -> None:
    """Run a long command with its output appended to `log_file`, `most` bytes at most.

    `timeout` is in seconds; `on_line` sees each line as it is printed, without its end.
    If it does not end by itself (either limit, Ctrl-C, SIGTERM turned into an exception), its
    process group gets TERM, and KILL after `process.TERM_GRACE` seconds.
    With `lifeline` its stdin is a pipe that is closed to stop it, or when this process ends: that
    reaches a command that runs as another user, where signals may not.
    Raises CommandError as `run` does, TooMuchOutputError, and for a log that cannot be written.
    """
    words = [str(word) for word in argv]
    with ExitStack() as files:
        try:
            sink = files.enter_context(log_file.open("ab", buffering=0))
            sink.write(f"$ {shlex.join(words)}\n".encode())
            follow = files.enter_context(log_file.open("rb"))
            # Before the command starts, or its first lines would be missed.
            follow.seek(0, os.SEEK_END)
        except OSError as error:
            raise CommandError(
                words, f"cannot write {log_file}: {error.strerror}", returncode=None
            ) from error
        log = _Log(sink, largest=follow.tell() + most)
        with process.started(
            words, env=env, cwd=cwd, stdin=lifeline, merged_into=sink.fileno()
        ) as child:
            try:
                _follow(child, follow, log, words, timeout=timeout, most=most, on_line=on_line)
            finally:
                # It, and processes that it left behind, may write until they have stopped.
                process.stop(child, meanwhile=log.cut)
                log.cut()
    if child.returncode != 0:
        raise process.command_failure(words, child.returncode, "")


class _Log:
    """A file that a command appends to, and its maximum size in bytes."""

    def __init__(self, file: FileIO, *, largest: int) -> None:
        self._file = file
        self._largest = largest

    def is_full(self) -> bool:
        """Return True if the file is larger than its maximum."""
        return os.fstat(self._file.fileno()).st_size > self._largest

    def cut(self) -> None:
        """Truncate the file to its maximum. Raises OSError."""
        if self.is_full():
            self._file.truncate(self._largest)


def _follow(
    child: Child,
    output: BinaryIO,
    log: _Log,
    words: list[str],
    *,
    timeout: float,
    most: int,
    on_line: Callable[[str], None] | None,
) -> None:
    """Pass the lines of `output` to `on_line` until the child ends.

    Raises OutOfTimeError after `timeout`, TooMuchOutputError once the log is full.
    """
    deadline = time.monotonic() + timeout
    pending = b""
    while True:
        ended = child.poll() is not None
        while chunk := output.read(process.LOG_CHUNK):
            pending = _pass_lines(pending + chunk, on_line)
            # Here: the end is never reached when the command writes faster than we read.
            if log.is_full():
                raise TooMuchOutputError(words, most)
            if not ended and time.monotonic() > deadline:
                break
        if ended:
            _pass_lines(pending + b"\n" if pending else b"", on_line)
            return
        if time.monotonic() > deadline:
            raise OutOfTimeError(words, timeout)
        time.sleep(0.2)


def _pass_lines(data: bytes, on_line: Callable[[str], None] | None) -> bytes:
    *whole, rest = data.split(b"\n")
    if on_line is not None:
        for line in whole:
            on_line(line.decode(errors="replace").rstrip("\r"))
    # A line without end (a progress bar, a binary) must not be collected without end either.
    return rest[-LONGEST_LINE:]
