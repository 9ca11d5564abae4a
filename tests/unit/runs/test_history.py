"""What is remembered of a target survives a bad record: it begins anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retrofit import state
from retrofit.chronicle import Chronicle, path_of, read_chronicle, write_chronicle

KNOWN = Chronicle(epoch="0a0b0c0d", told=3, runs={"published": 2}, seconds={"plan": 0.5})


def test_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_chronicle(tmp_path, "default", KNOWN)
    assert read_chronicle(tmp_path, "default") == KNOWN


@pytest.mark.parametrize(
    "changed",
    [
        {"told": -1},
        {"told": 10**400},
        {"runs": {"published": float("nan")}},
        {"runs": {"published": float("inf")}},
        {"runs": {"published": 10**400}},
        {"runs": {"published": "2"}},
        {"seconds": {"plan": -0.1}},
        {"seconds": []},
        {"last_run_at": 7},
        {"epoch": None},
    ],
    ids=repr,
)
def test_a_record_with_anything_of_another_form_begins_anew(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    write_chronicle(tmp_path, "default", KNOWN)
    path = path_of(tmp_path, "default")
    state.write(path, {**(state.read(path) or {}), **changed})
    read = read_chronicle(tmp_path, "default")
    assert (read.told, read.runs, read.seconds) == (0, {}, {})
    assert read.epoch != KNOWN.epoch


def test_what_a_newer_version_added_is_passed_over(tmp_path: Path) -> None:
    path = path_of(tmp_path, "default")
    write_chronicle(tmp_path, "default", KNOWN)
    state.write(path, {**(state.read(path) or {}), "mood": "fine"})
    assert read_chronicle(tmp_path, "default") == KNOWN
