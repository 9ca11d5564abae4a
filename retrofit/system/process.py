"""The only caller of subprocess: argv lists, closed stdin, a time limit always."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from retrofit.errors import RetrofitError
from retrofit.system.sandbox import program_name
from retrofit.system.signals import uninterrupted
from retrofit.system.tied import reason_not_started

log = structlog.get_logger(__name__)

Child = subprocess.Popen[bytes]
"""A running command; other modules do not import subprocess."""

TERM_GRACE = 60.0
"""Seconds between TERM and KILL: disk-image-create needs them to unmount."""
KILL_WAIT = 10.0
LOG_CHUNK = 64 * 1024
MOST_ANSWER = 16 * 1024 * 1024
"""Bytes that a short command may print: a hostile image can make its output endless."""


@dataclass(frozen=True, kw_only=True)
class Completed:
    """The output of a command that succeeded."""

    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """The exit code and stdout of a command that may fail."""

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
        message = f"{program_name(argv)} did not finish within {timeout:g} s"
        super().__init__(argv, message, returncode=None)


class TooMuchOutputError(CommandError):
    """A command was stopped as it printed more than the limit, in bytes."""

    def __init__(self, argv: Sequence[str], most: int) -> None:
        message = f"{program_name(argv)} printed more than {most >> 20} MiB"
        super().__init__(argv, message, returncode=None)


def command_failure(argv: Sequence[str], returncode: int, stderr: str) -> CommandError:
    """Return the error of a command that ended with another exit code than 0."""
    reason = reason_not_started(argv, returncode, stderr)
    if reason is not None:
        message = f"cannot start {program_name(argv)}: {reason}"
        return CommandError(argv, message, returncode=None)
    how = f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
    lines = stderr.strip().splitlines()
    tail = f": {lines[-1]}" if lines else ""
    return CommandError(
        argv, f"{program_name(argv)} failed with {how}{tail}", returncode=returncode, stderr=stderr
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
    keep_open: Sequence[int] = (),
) -> Completed:
    """Run a short command to its end.

    `timeout` is in seconds; `env` replaces the environment (None inherits it); `keep_open` are
    descriptors of ours that the command finds open under the same numbers.
    Raises CommandError when it cannot start, exits non-zero, runs out of time, or prints more than
    `MOST_ANSWER` bytes.
    """
    words = [str(word) for word in argv]
    with started(
        words, env=env, cwd=cwd, stdin=stdin is not None, merged_into=None, keep_open=keep_open
    ) as child:
        out, err = _converse(child, words, stdin or b"", timeout=timeout)
    stderr = err.decode(errors="replace")
    if child.returncode != 0:
        raise command_failure(words, child.returncode, stderr)
    return Completed(stdout=out.decode(errors="replace"), stderr=stderr)


def _converse(
    child: Child, words: list[str], stdin: bytes, *, timeout: float
) -> tuple[bytes, bytes]:
    """Write a child's stdin, and return its stdout and stderr.

    Popen.communicate has no limit on output. Raises OutOfTimeError, TooMuchOutputError.
    """
    deadline = time.monotonic() + timeout
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as ready:
        still_open = 0
        for stream, buffer in ((child.stdout, out), (child.stderr, err)):
            if stream is not None:
                ready.register(stream, selectors.EVENT_READ, buffer)
                still_open += 1
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            ready.register(child.stdin, selectors.EVENT_WRITE)
        while still_open:
            left = deadline - time.monotonic()
            if left <= 0:
                raise OutOfTimeError(words, timeout)
            for key, _ in ready.select(left):
                if key.fileobj is child.stdin:
                    stdin = _write_some(key.fd, stdin)
                    if not stdin:
                        ready.unregister(child.stdin)
                        child.stdin.close()
                    continue
                piece = os.read(key.fd, LOG_CHUNK)
                key.data.extend(piece)
                if not piece:
                    ready.unregister(key.fileobj)
                    still_open -= 1
            if len(out) + len(err) > MOST_ANSWER:
                raise TooMuchOutputError(words, MOST_ANSWER)
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise OutOfTimeError(words, timeout) from None
    return bytes(out), bytes(err)


def _write_some(pipe: int, data: bytes) -> bytes:
    """Write what a pipe accepts now, and return the rest; nothing when its reader is gone."""
    try:
        return data[os.write(pipe, data[:LOG_CHUNK]) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return b""


def run_with_our_stderr(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    on_start: Callable[[Child], None],
    stdin: bytes | None = None,
) -> Result:
    """Run a command that logs to our stderr; return its exit code and stdout.

    `timeout` is in seconds; `on_start` gets the child, for another thread to `stop` it.
    Raises CommandError when it cannot start, runs out of time, or prints more than `MOST_ANSWER`
    bytes.
    """
    words = [str(word) for word in argv]
    with started(
        words, env=None, cwd=None, stdin=stdin is not None, merged_into=None, stderr=None
    ) as child:
        on_start(child)
        out, _ = _converse(child, words, stdin or b"", timeout=timeout)
    return Result(returncode=child.returncode, stdout=out.decode(errors="replace"))


@contextmanager
def background(
    argv: Sequence[str | Path], *, log_file: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Keep a command running for the length of the block, its output in `log_file`.

    Raises CommandError when it cannot start; the block checks whether it is still running.
    """
    words = [str(word) for word in argv]
    with (
        log_file.open("ab", buffering=0) as sink,
        started(words, env=env, cwd=None, stdin=False, merged_into=sink.fileno()) as child,
    ):
        yield child


@contextmanager
def started(
    words: list[str],
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    stdin: bool,
    merged_into: int | None,
    stderr: int | None = subprocess.PIPE,
    keep_open: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command for the length of the block, at whose end it is stopped.

    `merged_into` is a descriptor for stdout and stderr together; without it, stdout is a pipe.
    Raises CommandError when it cannot start.
    """
    with ExitStack() as undo:
        # An interruption in between would leave a child that nothing stops.
        with uninterrupted():
            try:
                child = subprocess.Popen(
                    words,
                    env=None if env is None else dict(env),
                    cwd=cwd,
                    stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if merged_into is None else merged_into,
                    stderr=stderr if merged_into is None else subprocess.STDOUT,
                    # Its own group: Ctrl-C reaches us alone, and we decide how to stop the child.
                    process_group=0,
                    pass_fds=keep_open,
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
    """Stop a child and its process group: TERM, up to `grace` seconds in all, KILL.

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
