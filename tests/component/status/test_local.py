"""What a machine knows of its own runs: which goes on, and that looking disturbs nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrofit.config import LockSettings
from retrofit.lock import held
from retrofit.overview import look
from retrofit.overview.local import is_locked
from tests.unit import standings

HOLDER = """
import sys
from pathlib import Path
from retrofit.config import LockSettings
from retrofit.lock import held
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


def test_a_run_is_seen_by_its_lock_and_told_of_by_its_story(tmp_path: Path) -> None:
    settings = standings.settings(tmp_path)
    assert look(settings)["default"].going is None
    with lock_held(settings.paths.state):
        going = look(settings)["default"].going
        assert going is not None
        assert going.run_id is None
        directory = settings.paths.logs / RUN
        directory.mkdir(parents=True)
        told = [
            {"event": "step begun", "step": "build", "target": "default"},
            {"event": "of another one", "target": "other"},
        ]
        (directory / "story.jsonl").write_text("".join(json.dumps(each) + "\n" for each in told))
        going = look(settings)["default"].going
        assert going is not None
        assert (going.run_id, going.doing) == (RUN, "build")
        assert going.since is not None
        assert going.since.isoformat() == "2026-11-22T11:50:00+00:00"
    assert look(settings)["default"].going is None


def test_looking_takes_no_lock_away_and_takes_none(tmp_path: Path) -> None:
    settings = standings.settings(tmp_path)
    state = settings.paths.state
    with lock_held(state):
        for _ in range(3):
            assert look(settings)["default"].going is not None
    for _ in range(3):
        assert look(settings)["default"].going is None
    with held(LockSettings(), state, "default"):
        pass


def test_a_lock_file_that_is_not_there_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "nothing")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 1, "pid": "x"}', '{"version": 1, "pid": 1, "targets": 3}']
)
def test_a_damaged_timetable_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    settings = standings.settings(tmp_path)
    settings.paths.state.mkdir()
    (settings.paths.state / "schedule.json").write_text(text)
    assert look(settings)["default"].schedule is None


def test_the_timetable_of_a_worker_that_died_says_nothing(tmp_path: Path) -> None:
    settings = standings.settings(tmp_path)
    settings.paths.state.mkdir()
    process = subprocess.Popen(["true"])
    process.wait()
    entry = {"next_run": standings.iso(hours=-1), "trigger": "every 3600 s"}
    for pid, there in ((process.pid, False), (1, True)):
        record = {"version": 1, "pid": pid, "targets": {"default": entry}}
        (settings.paths.state / "schedule.json").write_text(json.dumps(record))
        assert (look(settings)["default"].schedule is not None) is there
