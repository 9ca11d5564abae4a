"""Servers in the background: started, recognised again later, and stopped without leftovers."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from retrofit.system.tied import tied as tied_words
from tests.devcloud.places import DevcloudError

STOP_SECONDS = 15.0
"""How long a server may take to stop before it is killed."""

PORTS = range(20000, 32000)

_reserved: list[socket.socket] = []
"""Tokens of the ports that this process has chosen."""

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Servers that this very process started: it has to reap them."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A process for good: its number alone is given to another one after its end."""

    pid: int
    started: int
    """Clock ticks after boot, field 22 of /proc/PID/stat."""


def start(
    argv: Sequence[str | Path],
    *,
    pid_file: Path,
    log_file: Path,
    env: Mapping[str, str],
    keep_open: Sequence[int] = (),
    tied: bool = False,
) -> None:
    """Start a server in a session of its own and write its identity to `pid_file`.

    A `tied` server gets TERM when this process ends in any way; others outlive it.
    """
    words = [str(word) for word in argv]
    if tied:
        words = tied_words(*words, by="TERM")
    with log_file.open("ab") as sink:
        child = subprocess.Popen(
            words,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(keep_open),
        )
    _children[child.pid] = child
    identity = Identity(pid=child.pid, started=_started(child.pid) or 0)
    pid_file.write_text(json.dumps(asdict(identity)))


def is_running(pid_file: Path) -> bool:
    """Whether the very process that `pid_file` names still runs."""
    identity = _read(pid_file)
    if identity is None:
        return False
    child = _children.get(identity.pid)
    if child is not None and child.poll() is not None:
        return False
    return _started(identity.pid) == identity.started


def stop(pid_file: Path) -> None:
    """End the process that `pid_file` names and everything in its session, within bounded time."""
    identity = _read(pid_file)
    if identity is not None:
        _stop(identity)
    pid_file.unlink(missing_ok=True)


def _stop(identity: Identity) -> None:
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        handle = None
    if handle is not None:
        try:
            # Looked at while the handle holds the process: its number cannot change hands any more.
            if _started(identity.pid) == identity.started:
                signal.pidfd_send_signal(handle, signal.SIGTERM)
                if not select.select([handle], [], [], STOP_SECONDS)[0]:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    select.select([handle], [], [], STOP_SECONDS)
        finally:
            os.close(handle)
    child = _children.pop(identity.pid, None)
    if child is not None:
        child.wait(STOP_SECONDS)
    _kill_session(identity)


def _kill_session(identity: Identity) -> None:
    """Kill what a master that died badly left in its session.

    A session's number is not given away while a member lives; members are younger than the master.
    """
    deadline = time.monotonic() + STOP_SECONDS
    while left := [
        pid
        for pid, session, started in _processes()
        if session == identity.pid and started >= identity.started
    ]:
        if time.monotonic() > deadline:
            raise DevcloudError(f"processes {left} do not end")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def _processes() -> list[tuple[int, int, int]]:
    """Number, session and start of every process that is not a zombie."""
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [(pid, *stat) for pid in numbers if (stat := _stat(pid))]


def _started(pid: int) -> int | None:
    stat = _stat(pid)
    return None if stat is None else stat[1]


def _stat(pid: int) -> tuple[int, int] | None:
    """Session and start time of a process, None where it ended, reaped or not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command, in parentheses, may hold anything; the state is the first field after it.
    fields = text.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return int(fields[3]), int(fields[19])


def _read(pid_file: Path) -> Identity | None:
    try:
        return Identity(**json.loads(pid_file.read_text()))
    except FileNotFoundError:
        return None


def listen(port: int | None) -> socket.socket:
    """A listening socket on loopback, on `port` or on a free one.

    A server inherits the socket, so that nobody takes the port between choice and use. Free ones
    are looked for below the kernel's range for outgoing connections, which a restart would meet.
    What is found stays this process's until it ends, also while nobody listens there: other tests
    run beside this one, and a server that was stopped is to come back where it was.
    """
    first = random.randrange(len(PORTS))  # noqa: S311 -- hides nothing
    for candidate in [port] if port else [*PORTS[first:], *PORTS[:first]]:
        if not port and not _reserve(candidate):
            continue
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
        except OSError:
            listener.close()
            continue
        listener.listen(128)
        return listener
    raise DevcloudError(
        f"port {port or f'between {PORTS.start} and {PORTS.stop}'} on 127.0.0.1 is taken"
    )


def _reserve(port: int) -> bool:
    """Take the UDP port of the same number, which only one process can have, as a token."""
    token = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        token.bind(("127.0.0.1", port))
    except OSError:
        token.close()
        return False
    _reserved.append(token)
    return True
