from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from retrofit.runs import store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return store.directory_of(tmp_path, "default") / "paused.json"


def test_a_record_is_read_as_it_was_written(path: Path) -> None:
    store.write(path, {"reason": "größer", "count": 3})
    assert store.read(path) == {"reason": "größer", "count": 3}
    store.write(path, {"count": 4})
    assert store.read(path) == {"count": 4}
    assert [entry.name for entry in path.parent.iterdir()] == ["paused.json"]


@pytest.mark.parametrize("step", ["fsync", "replace", "flock"])
def test_a_write_that_fails_half_way_leaves_the_old_record_and_nothing_else(
    path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(path, {"count": 1})

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        owner: Any = {"fsync": os, "replace": Path, "flock": fcntl}[step]
        patched.setattr(owner, step, fails)
        with pytest.raises(OSError, match="No space"):
            store.write(path, {"count": 2})
    assert store.read(path) == {"count": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["paused.json"]


def test_what_another_process_is_writing_is_left_to_it(path: Path) -> None:
    path.parent.mkdir(parents=True)
    partial = path.with_name(".paused.json.1")
    with partial.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        store.write(path, {"count": 1})
        assert partial.exists()
    store.write(path, {"count": 2})
    assert not partial.exists()


def test_a_sweep_between_the_making_of_a_file_and_its_lock_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    swept: list[Path] = []

    def late(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX and not swept:
            swept.extend(path.parent.glob(".*"))
            store.remove_partial(path.parent)
        flock(file, how)

    path.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(fcntl, "flock", late)
    store.write(path, {"a": 1})
    assert len(swept) == 1
    assert store.read(path) == {"a": 1}


def test_what_is_larger_than_any_record_is_none(path: Path) -> None:
    store.write(path, {"text": "x" * 1000})
    assert store.read(path)
    store.write(path, {"text": "x" * store.LARGEST})
    assert store.read(path) is None


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
    assert store.read(path) is None
    store.write(path, {"count": 1})
    assert store.read(path) == {"count": 1}


def test_a_record_that_cannot_be_read_or_is_not_there_is_none(path: Path) -> None:
    assert store.read(path) is None
    path.mkdir(parents=True)  # root reads every file, and no directory
    assert store.read(path) is None
    assert store.read(path / "below" / "it") is None


def test_removing_what_is_not_there_is_no_error(path: Path) -> None:
    store.remove(path)
    store.write(path, {})
    store.remove(path)
    assert not path.exists()
