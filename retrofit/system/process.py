"""The only caller of subprocess: argv lists, closed stdin, a time limit always."""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import structlog

from retrofit.confined import program_of
from retrofit.errors import RetrofitError
from retrofit.interrupts import uninterrupted

log = structlog.get_logger(__name__)

Child = subprocess.Popen[bytes]
"""A running command, for those who may not import subprocess."""

TERM_GRACE = 60.0
"""Seconds between TERM and KILL: disk-image-create needs them to unmount."""


KILL_WAIT = 10.0
LOG_CHUNK = 64 * 1024
LONGEST_LINE = 64 * 1024
MOST_OUTPUT = 64 * 1024 * 1024
"""Bytes that a long command may print into its log; a build prints some MiB."""
MOST_ANSWER = 16 * 1024 * 1024
"""Bytes that a short command may print: what it says of a hostile image has no end of its own."""


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What a command that succeeded printed."""

    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a command ended that may fail, and what it answered on stdout."""

    returncode: int
    stdout: str


class CommandError(RetrofitError):
    """A command could not be started, failed, or ran out of time.

    `returncode` is None when it never started or was stopped by its time limit.
    Callers that know what the command was for translate this into their own error.
    """

    def __init__(
        self, argv: Sequence[str], message: str, *, returncode: int | None, stderr: str = ""
    ) -> None:
        super().__init__(message)
        self.argv = list(argv)
        self.returncode = returncode
        self.stderr = stderr


class OutOfTimeError(CommandError):
    """A command was stopped by its time limit, in seconds."""

    def __init__(self, argv: Sequence[str], timeout: float) -> None:
        message = f"{program_of(argv)} did not finish within {timeout:g} s"
        super().__init__(argv, message, returncode=None)


class TooMuchOutputError(CommandError):
    """A command was stopped as it printed more than the limit, in bytes."""

    def __init__(self, argv: Sequence[str], most: int) -> None:
        message = f"{program_of(argv)} printed more than {most >> 20} MiB"
        super().__init__(argv, message, returncode=None)


def _failure(argv: Sequence[str], returncode: int, stderr: str) -> CommandError:
    how = f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
    said = stderr.strip().splitlines()
    tail = f": {said[-1]}" if said else ""
    return CommandError(
        argv, f"{program_of(argv)} failed with {how}{tail}", returncode=returncode, stderr=stderr
    )


def _not_started(argv: Sequence[str], error: OSError) -> CommandError:
    reason = "not found" if isinstance(error, FileNotFoundError) else str(error)
    return CommandError(argv, f"cannot start {argv[0]}: {reason}", returncode=None)


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
) -> Completed:
    """Run a short command to its end.

    `timeout` is in seconds; `env` replaces the environment (None inherits it).
    Raises CommandError when it cannot start, exits non-zero, runs out of time, or prints more than
    `MOST_ANSWER` bytes.
    """
    words = [str(word) for word in argv]
    with _started(words, env=env, cwd=cwd, stdin=stdin is not None, merged_into=None) as child:
        out, err = _converse(child, words, stdin or b"", timeout=timeout)
    stderr = err.decode(errors="replace")
    if child.returncode != 0:
        raise _failure(words, child.returncode, stderr)
    return Completed(stdout=out.decode(errors="replace"), stderr=stderr)


def _converse(
    child: Child, words: list[str], told: bytes, *, timeout: float
) -> tuple[bytes, bytes]:
    """Tell a child what its stdin holds, and return what it printed to stdout and stderr.

    Popen.communicate would collect any amount. Raises OutOfTimeError, TooMuchOutputError.
    """
    deadline = time.monotonic() + timeout
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as ready:
        speaking = 0
        for stream, heard in ((child.stdout, out), (child.stderr, err)):
            if stream is not None:
                ready.register(stream, selectors.EVENT_READ, heard)
                speaking += 1
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            ready.register(child.stdin, selectors.EVENT_WRITE)
        while speaking:
            left = deadline - time.monotonic()
            if left <= 0:
                raise OutOfTimeError(words, timeout)
            for key, _ in ready.select(left):
                if key.fileobj is child.stdin:
                    told = _write_some(key.fd, told)
                    if not told:
                        ready.unregister(child.stdin)
                        child.stdin.close()
                    continue
                piece = os.read(key.fd, LOG_CHUNK)
                key.data.extend(piece)
                if not piece:
                    ready.unregister(key.fileobj)
                    speaking -= 1
            if len(out) + len(err) > MOST_ANSWER:
                raise TooMuchOutputError(words, MOST_ANSWER)
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise OutOfTimeError(words, timeout) from None
    return bytes(out), bytes(err)


def _write_some(pipe: int, data: bytes) -> bytes:
    """Write what a pipe takes now, and return the rest: none when nobody reads."""
    try:
        return data[os.write(pipe, data[:LOG_CHUNK]) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return b""


def run_answering(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    on_start: Callable[[Child], None],
    stdin: bytes | None = None,
) -> Answer:
    """Run a command that tells its story on our stderr, and answers on stdout and by its exit code.

    `timeout` is in seconds; `on_start` gets the child, for another thread to `stop` it.
    Raises CommandError when it cannot start, runs out of time, or answers more than `MOST_ANSWER`
    bytes.
    """
    words = [str(word) for word in argv]
    with _started(
        words, env=None, cwd=None, stdin=stdin is not None, merged_into=None, stderr=None
    ) as child:
        on_start(child)
        out, _ = _converse(child, words, stdin or b"", timeout=timeout)
    return Answer(returncode=child.returncode, stdout=out.decode(errors="replace"))


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
    """Run a long command with everything it prints appended to `log_file`, `most` bytes at most.

    `timeout` is in seconds; `on_line` sees each line as it is printed, without its end.
    On any way out that is not the command's own end (either limit, Ctrl-C, SIGTERM turned into an
    exception), its process group gets TERM and `TERM_GRACE` seconds before KILL.
    With `lifeline` its stdin is a pipe that ends when it shall stop, or when this process is gone:
    that reaches a command which runs as another user, where signals may not.
    Raises CommandError as `run` does, TooMuchOutputError, and for a log that cannot be written.
    """
    words = [str(word) for word in argv]
    with ExitStack() as files:
        try:
            sink = files.enter_context(log_file.open("ab", buffering=0))
            sink.write(f"$ {shlex.join(words)}\n".encode())
            follow = files.enter_context(log_file.open("rb"))
            # Before the command starts, or its first lines would be passed over.
            follow.seek(0, os.SEEK_END)
        except OSError as error:
            raise CommandError(
                words, f"cannot write {log_file}: {error.strerror}", returncode=None
            ) from error
        log = _Log(sink, largest=follow.tell() + most)
        with _started(words, env=env, cwd=cwd, stdin=lifeline, merged_into=sink.fileno()) as child:
            try:
                _follow(child, follow, log, words, timeout=timeout, most=most, on_line=on_line)
            finally:
                # It, and what it leaves behind, may print on until it has stopped.
                stop(child, meanwhile=log.cut)
                log.cut()
    if child.returncode != 0:
        raise _failure(words, child.returncode, "")


class _Log:
    """A file that a command appends to by itself, and the size in bytes that it may reach."""

    def __init__(self, file: FileIO, *, largest: int) -> None:
        self._file = file
        self._largest = largest

    def is_full(self) -> bool:
        """Say whether there is more than may be kept."""
        return os.fstat(self._file.fileno()).st_size > self._largest

    def cut(self) -> None:
        """Cut off what is too much. Raises OSError."""
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
    """Tell the lines of `output` until the child ends.

    Raises OutOfTimeError after `timeout`, TooMuchOutputError once the log is full.
    """
    deadline = time.monotonic() + timeout
    pending = b""
    while True:
        ended = child.poll() is not None
        while chunk := output.read(LOG_CHUNK):
            pending = _tell_lines(pending + chunk, on_line)
            # Here, as whoever prints faster than we read never lets us come to the end.
            if log.is_full():
                raise TooMuchOutputError(words, most)
            if not ended and time.monotonic() > deadline:
                break
        if ended:
            _tell_lines(pending + b"\n" if pending else b"", on_line)
            return
        if time.monotonic() > deadline:
            raise OutOfTimeError(words, timeout)
        time.sleep(0.2)


def _tell_lines(data: bytes, on_line: Callable[[str], None] | None) -> bytes:
    *whole, rest = data.split(b"\n")
    if on_line is not None:
        for line in whole:
            on_line(line.decode(errors="replace").rstrip("\r"))
    # A line without end (a progress bar, a binary) must not be collected without end either.
    return rest[-LONGEST_LINE:]


def detach(argv: Sequence[str | Path], *, stdin: bytes) -> None:
    """Start a command that outlives us and that nobody waits for; what it prints is lost.

    `stdin` is at most what a pipe holds, 64 KiB. Raises CommandError when it cannot start.
    """
    # setsid(1) forks and ends: nothing is left for us to wait for, nor a signal's way to it.
    words = ["setsid", "--fork", *(str(word) for word in argv)]
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except OSError as error:
        raise _not_started(words, error) from error
    with suppress(BrokenPipeError):
        child.communicate(stdin, timeout=KILL_WAIT)


@contextmanager
def background(
    argv: Sequence[str | Path], *, log_file: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Keep a command running for the length of the block, its output in `log_file`.

    Raises CommandError when it cannot start; whether it dies meanwhile is for the block to ask.
    """
    words = [str(word) for word in argv]
    with (
        log_file.open("ab", buffering=0) as sink,
        _started(words, env=env, cwd=None, stdin=False, merged_into=sink.fileno()) as child,
    ):
        yield child


@contextmanager
def _started(
    words: list[str],
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    stdin: bool,
    merged_into: int | None,
    stderr: int | None = subprocess.PIPE,
) -> Iterator[subprocess.Popen[bytes]]:
    with ExitStack() as undo:
        # An interruption in between would leave a child that nobody knows of.
        with uninterrupted():
            try:
                child = subprocess.Popen(
                    words,
                    env=None if env is None else dict(env),
                    cwd=cwd,
                    stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if merged_into is None else merged_into,
                    stderr=stderr if merged_into is None else subprocess.STDOUT,
                    # Its own group: Ctrl-C reaches us alone, and we decide how the child is asked
                    # to stop.
                    process_group=0,
                )
            except OSError as error:
                raise _not_started(words, error) from error
            undo.callback(_end, child)
        yield child


def _end(child: Child) -> None:
    try:
        stop(child)
    finally:
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def stop(
    child: subprocess.Popen[bytes],
    *,
    grace: float | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """End a child and its process group: TERM, up to `grace` seconds together, KILL.

    A group outlives its leader as long as one of its processes does. `meanwhile` is called again
    and again until all have ended. A second interruption kills at once, and goes on its way.
    """
    deadline = time.monotonic() + (TERM_GRACE if grace is None else grace)
    if child.stdin is not None:
        # What a lifeline waits for. A broken pipe means that the reader has gone already.
        with suppress(BrokenPipeError):
            child.stdin.close()
    try:
        if child.poll() is None or _group_lives(child):
            _signal_group(child, signal.SIGTERM)
        while child.poll() is None or _group_lives(child):
            if time.monotonic() > deadline:
                log.warning("process did not stop, killing it", argv=child.args, pid=child.pid)
                break
            meanwhile()
            time.sleep(0.05)
    finally:
        if child.poll() is None or _group_lives(child):
            _signal_group(child, signal.SIGKILL)
            # Root's processes cannot be signalled by others: those end by their lifeline.
            with suppress(subprocess.TimeoutExpired):
                child.wait(KILL_WAIT)


def _group_lives(child: subprocess.Popen[bytes]) -> bool:
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It belongs to root, by way of sudo: only a lifeline reaches it.
        return child.poll() is None
    # Where process 1 is no init, as in many containers, orphans stay as zombies for ever.
    return any(_runs_in_group(stat, child.pid) for stat in Path("/proc").glob("[0-9]*/stat"))


def _runs_in_group(stat: Path, group: int) -> bool:
    """Read state and process group from /proc/PID/stat; the name before them may hold anything."""
    try:
        fields = stat.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX" and int(fields[2]) == group


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
