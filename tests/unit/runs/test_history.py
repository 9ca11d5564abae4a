"""The history of a target survives a damaged record: it begins anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retrofit.runs import store
from retrofit.runs.history import History, path_of, read_history, write_history

KNOWN = History(
    sequence_id="0a0b0c0d",
    sequence_number=3,
    run_counts={"published": 2},
    step_seconds={"plan": 0.5},
)


def test_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_history(tmp_path, "default", KNOWN)
    assert read_history(tmp_path, "default") == KNOWN


@pytest.mark.parametrize(
    "changed",
    [
        {"sequence_number": -1},
        {"sequence_number": 10**400},
        {"run_counts": {"published": float("nan")}},
        {"run_counts": {"published": float("inf")}},
        {"run_counts": {"published": 10**400}},
        {"run_counts": {"published": "2"}},
        {"step_seconds": {"plan": -0.1}},
        {"step_seconds": []},
        {"last_run_at": 7},
        {"sequence_id": None},
    ],
    ids=repr,
)
def test_a_record_with_anything_of_another_form_begins_anew(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    write_history(tmp_path, "default", KNOWN)
    path = path_of(tmp_path, "default")
    store.write(path, {**(store.read(path) or {}), **changed})
    read = read_history(tmp_path, "default")
    assert (read.sequence_number, read.run_counts, read.step_seconds) == (0, {}, {})
    assert read.sequence_id != KNOWN.sequence_id


def test_what_a_newer_version_added_is_passed_over(tmp_path: Path) -> None:
    path = path_of(tmp_path, "default")
    write_history(tmp_path, "default", KNOWN)
    store.write(path, {**(store.read(path) or {}), "mood": "fine"})
    assert read_history(tmp_path, "default") == KNOWN
