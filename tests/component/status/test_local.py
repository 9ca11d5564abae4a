"""What a machine knows of its own runs: which goes on, and that looking disturbs nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrofit.config import LockSettings
from retrofit.lock.lock import held
from retrofit.status import look
from scheduler.only_worker import only_worker
from tests.unit.status import scenes

HOLDER = """
import sys
from pathlib import Path
from retrofit.config import LockSettings
from retrofit.lock.lock import held
with held(LockSettings(), Path(sys.argv[1]), "default"):
    print("held", flush=True)
    sys.stdin.read()
"""
RUN = "20261122T115000Z-d4e5f6"


@contextmanager
def lock_held(state: Path) -> Iterator[None]:
    """Have another process hold the lock of the target, as a run does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"held\n"
        yield
    finally:
        process.communicate()


def test_a_run_is_seen_by_its_lock_and_described_by_its_events(tmp_path: Path) -> None:
    settings = scenes.settings(tmp_path)
    assert look(settings)["default"].running is None
    with lock_held(settings.paths.state):
        running = look(settings)["default"].running
        assert running is not None
        assert running.run_id is None
        directory = settings.paths.logs / RUN
        directory.mkdir(parents=True)
        told = [
            {"event": "step started", "step": "build", "target": "default"},
            {"event": "of another one", "target": "other"},
        ]
        (directory / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in told))
        running = look(settings)["default"].running
        assert running is not None
        assert (running.run_id, running.doing) == (RUN, "build")
        assert running.since is not None
        assert running.since.isoformat() == "2026-11-22T11:50:00+00:00"
    assert look(settings)["default"].running is None


def test_looking_takes_no_lock_away_and_takes_none(tmp_path: Path) -> None:
    settings = scenes.settings(tmp_path)
    state = settings.paths.state
    with lock_held(state):
        for _ in range(3):
            assert look(settings)["default"].running is not None
    for _ in range(3):
        assert look(settings)["default"].running is None
    with held(LockSettings(), state, "default"):
        pass


def test_the_timetable_of_a_worker_that_died_says_nothing(tmp_path: Path) -> None:
    settings = scenes.settings(tmp_path)
    settings.paths.state.mkdir()
    entry = {"next_run": scenes.iso(hours=-1), "trigger": "every 3600 s"}
    record = {"version": 1, "pid": 1, "targets": {"default": entry}}
    with only_worker(settings.paths.state):
        (settings.paths.state / "schedule.json").write_text(json.dumps(record))
        assert look(settings)["default"].schedule is not None
    assert look(settings)["default"].schedule is None
