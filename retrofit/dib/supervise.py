"""Process 1 of a build's own namespaces: when it ends, so do the build's processes and mounts.

Run as `unshare --mount --pid --fork --mount-proc --kill-child python -m retrofit.dib.supervise
LOCK_FILE GRACE ENVIRONMENT_FILE COMMAND...`. Its stdin is a lifeline: when that ends (the run asks
the build to stop, or is dead), disk-image-create gets TERM and GRACE seconds to clean up after
itself.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

POLL = 0.1
FLUSH = 3.0
"""Seconds for the log filter, which outlives the command and has last lines to write."""
UMASK = 0o022
STOPPED = 143
"""Exit code of a build that was asked to stop, as shells report TERM."""

# Of capabilities(7), what no build needs and a program of the image could use against this host's
# kernel: modules, raw I/O, ptrace, reboot, clock, audit, LSM policies, kernel log, perf, BPF. Root
# in a chroot is still root: an untrusted source needs a machine of its own.
DROPPED = (16, 17, 19, 20, 22, 25, 26, 30, 32, 33, 34, 35, 36, 37, 38, 39)
PR_CAPBSET_DROP = 24

# disk-image-create writes through this filter; without it the clean-up dies of a broken pipe.
LOG_FILTER = b"outfilter.py"


def main(argv: list[str]) -> int:
    """Run a command to its end, or to the end of stdin, and return its exit code."""
    if os.getpid() != 1:
        sys.exit("supervise: must be process 1 of a process namespace of its own")
    lock_file, grace, environment_file, *command = argv
    environment = _taken(Path(environment_file))
    # Before anything starts: what elements and packages write has the modes that this leaves, and
    # cron, a hardened host's root or a unit of one's own may have another one.
    os.umask(UMASK)
    asked = False
    _give_up_capabilities()

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask)
    with Path(lock_file).open("a") as lock:
        # Shows a later run that this build is still being cleaned up.
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = os.posix_spawnp(
            command[0],
            command,
            environment,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setsid=True,
            setsigdef=[signal.SIGPIPE],
        )
        status = None
        deadline = None
        while status is None:
            if deadline is None and (asked or _lifeline_ended()):
                _signal_all(signal.SIGTERM)
                deadline = time.monotonic() + float(grace)
            elif deadline is not None:
                time.sleep(POLL)
                if time.monotonic() > deadline:
                    return STOPPED
            status = _reap(child)
        _flush()
    return STOPPED if deadline is not None else status


def _taken(file: Path) -> dict[str, str]:
    """Return the environment in a file, as /proc has one, and delete it: it may have secrets."""
    words = file.read_bytes().split(b"\0")
    file.unlink()
    pairs = (os.fsdecode(word).partition("=") for word in words if word)
    return {name: value for name, _, value in pairs}


def _give_up_capabilities() -> None:
    """Drop the capabilities that no build needs, for every process to come."""
    prctl = ctypes.CDLL(None).prctl
    for capability in DROPPED:
        prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)


def _lifeline_ended() -> bool:
    # Nothing is ever written to it: readable means ended.
    return bool(select.select([0], [], [], POLL)[0])


def _reap(child: int) -> int | None:
    """Collect every process that has ended; return the exit code of `child` once it has."""
    result = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return result
        if pid == 0:
            return result
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            result = code if code >= 0 else 128 - code


def _signal_all(number: signal.Signals) -> None:
    """Signal every process in the namespace but this one and the log filter."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == "1":
            continue
        with suppress(OSError):
            if LOG_FILTER not in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), number)


def _flush() -> None:
    """Let the log filter finish, without waiting for other processes that a package started."""
    _signal_all(signal.SIGTERM)
    deadline = time.monotonic() + FLUSH
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            time.sleep(POLL / 2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
