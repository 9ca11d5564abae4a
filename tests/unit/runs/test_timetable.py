"""A timetable is believed while its worker holds its lock, whatever the worker's process number."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retrofit.errors import LockedError
from retrofit.runs.timetable import (
    Timetable,
    TimetableEntry,
    read_timetable,
    worker_is_alive,
    write_timetable,
)
from scheduler.only_worker import only_worker


@pytest.mark.parametrize("pid", ["1", "ours", "gone"])
def test_the_number_of_a_process_proves_nothing(tmp_path: Path, pid: str) -> None:
    """In a container a worker is process 1; after its death something else is."""
    number = {"1": 1, "ours": os.getpid(), "gone": 2**22}[pid]
    timetable = Timetable(pid=number, targets={"default": TimetableEntry(trigger="every hour")})
    with only_worker(tmp_path):
        write_timetable(tmp_path, timetable)
        assert read_timetable(tmp_path) == timetable
    assert read_timetable(tmp_path) is None


def test_a_worker_that_never_was_or_whose_lock_file_is_gone_is_dead(tmp_path: Path) -> None:
    assert not worker_is_alive(tmp_path)
    with only_worker(tmp_path):
        (tmp_path / "worker.lock").unlink()
        assert not worker_is_alive(tmp_path)


def test_asking_keeps_no_worker_from_its_start(tmp_path: Path) -> None:
    with only_worker(tmp_path):
        assert worker_is_alive(tmp_path)
        assert worker_is_alive(tmp_path)
        with pytest.raises(LockedError, match="another worker"), only_worker(tmp_path):
            raise AssertionError
    with only_worker(tmp_path):
        pass
