from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from retrofit import state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return state.directory_of(tmp_path, "default") / "paused.json"


def test_a_record_is_read_as_it_was_written(path: Path) -> None:
    state.write(path, {"reason": "größer", "count": 3})
    assert state.read(path) == {"reason": "größer", "count": 3}
    state.write(path, {"count": 4})
    assert state.read(path) == {"count": 4}
    assert [entry.name for entry in path.parent.iterdir()] == ["paused.json"]


@pytest.mark.parametrize("step", ["fsync", "replace", "flock"])
def test_a_write_that_fails_half_way_leaves_the_old_record_and_nothing_else(
    path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.write(path, {"count": 1})

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        owner: Any = {"fsync": os, "replace": Path, "flock": fcntl}[step]
        patched.setattr(owner, step, fails)
        with pytest.raises(OSError, match="No space"):
            state.write(path, {"count": 2})
    assert state.read(path) == {"count": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["paused.json"]


def test_a_write_killed_half_way_leaves_the_old_record(path: Path) -> None:
    state.write(path, {"count": 1})
    child = os.fork()
    if child == 0:
        Path.replace = lambda *_: os._exit(137)  # type: ignore[method-assign,assignment]
        state.write(path, {"count": 2})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
    assert state.read(path) == {"count": 1}
    assert len(list(path.parent.iterdir())) == 2, "it was killed before it could clean up"
    state.write(path.with_name("another.json"), {"count": 3})
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["another.json", "paused.json"]


def test_what_another_process_is_writing_is_left_to_it(path: Path) -> None:
    path.parent.mkdir(parents=True)
    partial = path.with_name(".paused.json.1")
    with partial.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state.write(path, {"count": 1})
        assert partial.exists()
    state.write(path, {"count": 2})
    assert not partial.exists()


def test_a_sweep_between_the_making_of_a_file_and_its_lock_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, swept = fcntl.flock, []

    def late(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX and not swept:
            swept.extend(path.parent.glob(".*"))
            state.sweep(path.parent)
        flock(file, how)

    path.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(fcntl, "flock", late)
    state.write(path, {"a": 1})
    assert len(swept) == 1
    assert state.read(path) == {"a": 1}


def test_what_is_larger_than_any_record_is_none(path: Path) -> None:
    state.write(path, {"text": "x" * 1000})
    assert state.read(path)
    state.write(path, {"text": "x" * state.LARGEST})
    assert state.read(path) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"words"',
        b"null",
        b"\xff\xfe\x00",
        b'{"count": 1}',
        b'{"version": 2, "count": 1}',
        b'{"version": "1", "count": 1}',
    ],
)
def test_what_this_version_does_not_understand_is_as_good_as_no_record(
    path: Path, content: bytes
) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert state.read(path) is None
    state.write(path, {"count": 1})
    assert state.read(path) == {"count": 1}


def test_a_record_that_cannot_be_read_or_is_not_there_is_none(path: Path) -> None:
    assert state.read(path) is None
    path.mkdir(parents=True)  # root reads every file, and no directory
    assert state.read(path) is None
    assert state.read(path / "below" / "it") is None


def test_removing_what_is_not_there_is_no_error(path: Path) -> None:
    state.remove(path)
    state.write(path, {})
    state.remove(path)
    assert not path.exists()
