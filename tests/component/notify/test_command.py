"""A command that gets notifications ends with its worker, and is named where it cannot start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrofit.config import NotifySettings
from retrofit.notify import Notification
from retrofit.notify.receivers import UndeliveredError, run_command

WORKER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from retrofit.config import NotifySettings, PathSettings, Settings, Target
from retrofit.notify import Notification, Outbox
from scheduler.notifications import delivering

root = Path(sys.argv[1])
paths = PathSettings(**{name: root / name for name in ("state", "cache", "work", "logs")})
notify = NotifySettings(command=(str(root / "hook"), str(root / "pid")), timeout=120)
settings = Settings(targets=(Target(name="noble"),), paths=paths, notify=notify)
notification = Notification(id="h/noble/ab-1", event="test", at=datetime.now(UTC), target="noble")
Outbox(paths.state).enqueue("noble", notification, to=("command",))
with delivering(lambda: settings, every=0.05):
    while not (root / "pid").exists():
        time.sleep(0.05)
    print("delivering", flush=True)
    sys.stdin.read()
"""


def hook(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("killed", [False, True])
def test_ends_with_its_worker_however_that_ends(tmp_path: Path, *, killed: bool) -> None:
    hook(tmp_path / "hook", 'echo $$ > "$1.new"; mv "$1.new" "$1"; exec sleep 100')
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"delivering\n"
        pid = int((tmp_path / "pid").read_text())
        try:
            assert is_alive(pid)
            if killed:
                worker.kill()
            worker.communicate()
            wait_for(lambda: not is_alive(pid))
        finally:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def deliver(*command: object) -> str:
    notification = Notification(id="h/noble/ab-1", event="test", at=datetime.now(UTC))
    settings = NotifySettings.model_construct(command=tuple(map(str, command)))
    with pytest.raises(UndeliveredError) as failed:
        run_command(settings, notification, timeout=2)
    return str(failed.value)


def test_is_named_where_it_fails_and_where_it_cannot_start(tmp_path: Path) -> None:
    fails = hook(tmp_path / "fails", "echo the reason >&2; exit 3")
    assert deliver(fails) == f"{fails} failed with exit code 3: the reason"
    fails = hook(tmp_path / "lacks", "exec /nowhere/program")
    assert deliver(fails).startswith(f"{fails} failed with exit code 127: ")
    ends = hook(tmp_path / "ends", "kill $$; sleep 1")
    assert deliver(ends) == f"{ends} failed with signal 15"
    stays = hook(tmp_path / "stays", "exec sleep 100")
    assert deliver(stays) == f"{stays} did not finish within 2 s"
    assert deliver(tmp_path / "gone") == f"cannot start {tmp_path}/gone: not found"
    (tmp_path / "odd").write_text("#!/nowhere/interpreter\n")
    (tmp_path / "odd").chmod(0o755)
    assert deliver(tmp_path / "odd") == f"cannot start {tmp_path}/odd: not found"
    closed = hook(tmp_path / "closed", "exit 0")
    closed.chmod(0o644)
    message = deliver(closed)
    assert message.startswith(f"cannot start {closed}: ")
    assert "Permission denied" in message
