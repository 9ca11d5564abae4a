"""retrofit's command line as a process of its own, begun warm: faults may stop or kill it.

It is forked from the tests' process, which has imported everything already; from there on it is
what an operator starts. What it is told to do `before` it begins is where faults are put into it.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from retrofit.cli import main
from retrofit.operations import run as operation
from retrofit.runs.report import RunReport
from tests.integration.harness import CloudHarness

POLL = 0.01
numbers = itertools.count()
NO_EXIT = 99
"""Exit code of a child in which something else than the command line failed."""


class RanTooLongError(AssertionError):
    """The command did not end in the time that its test gave it."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended: by itself with a code, or by a signal."""

    exit_code: int | None
    signal: int | None
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Running:
    """A command that goes on beside the test."""

    pid: int
    out: Path
    err: Path

    def send(self, number: int) -> None:
        """Send a signal to the process, and to it alone, as an operator or the kernel does."""
        os.kill(self.pid, number)

    def ended(self, timeout: float = 60.0) -> Ended:
        """Wait for the end. Raises RanTooLongError after so many seconds, the process killed."""
        deadline = time.monotonic() + timeout
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise RanTooLongError(f"no end within {timeout:g} s:\n{_text(self.err)}")
            time.sleep(POLL)
        code = os.waitstatus_to_exitcode(status)
        ended = Ended(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            stdout=_text(self.out),
            stderr=_text(self.err),
        )
        for path in (self.out, self.err):
            path.unlink(missing_ok=True)
        assert ended.exit_code != NO_EXIT, ended.stderr
        assert "Traceback" not in ended.stderr + ended.stdout, ended.stderr
        return ended


def begin(
    harness: CloudHarness,
    *words: str,
    before: Callable[[], object] = lambda: None,
    build: Any = None,
    verify: Any = None,
) -> Running:
    """Begin a command on a harness, by default with the harness's recording build and verification.

    `before` is called in the new process.
    """
    # A run may begin another one: no two may write into the same files.
    begun = f"{harness.machine}.{os.getpid()}.{next(numbers)}"
    out, err = (harness.directory / f"{begun}.{name}" for name in ("out", "err"))
    argv = ["retrofit", "--config", str(harness.config), *words]
    temporary = harness.path("tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    doubles = partial(
        operation.run_targets,
        build=build or harness.fake_builder.build,
        verify=verify or harness.fake_builder.verify,
    )
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        # Whatever happens here, never back into pytest.
        try:
            # Of its own, or nobody could tell whose what is left there is.
            os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
            code = _become(argv, out, err, doubles, before)
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            code = NO_EXIT
        _flush()
        os._exit(code)
    return Running(pid=pid, out=out, err=err)


def _flush() -> None:
    """Flush what was printed, as far as there is room for it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue


def run(
    harness: CloudHarness,
    *words: str,
    before: Callable[[], object] = lambda: None,
    timeout: float = 60.0,
    **doubles: Any,
) -> Ended:
    """Run a command to its end, at most `timeout` seconds."""
    return begin(harness, *words, before=before, **doubles).ended(timeout)


def _unraisable(ignored: Any) -> None:
    """Report what a destructor raises, but for the shortage that the test made."""
    if ignored.exc_type is not MemoryError:
        sys.__unraisablehook__(ignored)


def _become(
    argv: list[str],
    out: Path,
    err: Path,
    doubles: Callable[..., Any],
    before: Callable[[], object],
) -> int:
    """Be the command from here on, and return its exit code."""
    sys.unraisablehook = _unraisable  # pytest's own keeps what it gets, and needs memory for it
    os.setpgid(0, 0)
    for number, path, flags in (
        (0, Path(os.devnull), os.O_RDONLY),
        (1, out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  (as long as the process lives)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.argv = argv
    operation.run_targets = doubles  # type: ignore[attr-defined]
    before()
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def at_step(name: str, act: Callable[[], object], *, begun: bool) -> Callable[[], None]:
    """Return what has `act` called right before a step of the run begins, or right after it ended.

    It is to be called in the process of the run: `begin(..., before=at_step(...))`.
    """

    def put_in() -> None:
        step = RunReport.step

        def act_once() -> None:
            # What acts may run a command in its turn, which nothing is to happen to.
            RunReport.step = step  # type: ignore[method-assign]
            act()

        @contextmanager
        def with_act(self: RunReport, which: str) -> Iterator[None]:
            if which == name and begun:
                act_once()
            with step(self, which):
                yield
            if which == name and not begun:
                act_once()

        RunReport.step = with_act  # type: ignore[assignment, method-assign]

    return put_in


def die() -> None:
    """Be gone at once, as by the kernel's out-of-memory killer or a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def be_stopped() -> None:
    """Get what `systemctl stop` sends."""
    os.kill(os.getpid(), signal.SIGTERM)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
