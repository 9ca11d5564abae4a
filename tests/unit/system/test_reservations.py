"""A reservation counts as long as its process lives, and no longer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from retrofit.system.reservations import Reservation, reserved


def one(directory: Path, memory: int = 10) -> Reservation:
    return Reservation(memory=memory, disks={1: 100}, directory=directory)


def seen(directory: Path) -> list[Reservation]:
    found: list[Reservation] = []

    def look(others: Sequence[Reservation]) -> Reservation:
        found.extend(others)
        return one(directory)

    with reserved(directory / "reservations", "looks", look):
        pass
    return found


def test_others_see_it_until_it_ends(tmp_path: Path) -> None:
    with reserved(tmp_path / "reservations", "a", lambda _: one(tmp_path, 7)):
        assert seen(tmp_path) == [one(tmp_path, 7)]
    assert seen(tmp_path) == []
    assert not list((tmp_path / "reservations").glob("*.json"))


def test_that_of_a_dead_process_is_deleted(tmp_path: Path) -> None:
    left = tmp_path / "reservations" / "dead.json"
    left.parent.mkdir()
    left.write_text(json.dumps({"memory": 1, "disks": {}, "directory": "/"}))
    assert seen(tmp_path) == []
    assert not left.exists()


def test_one_that_nobody_can_read_is_none(tmp_path: Path) -> None:
    with reserved(tmp_path / "reservations", "a", lambda _: one(tmp_path)):
        (tmp_path / "reservations" / "a.json").write_text("{")
        assert seen(tmp_path) == []


def test_a_refusal_leaves_nothing(tmp_path: Path) -> None:
    def refuse(_others: Sequence[Reservation]) -> Reservation:
        raise ValueError("too little")

    with (
        pytest.raises(ValueError, match="too little"),
        reserved(tmp_path / "reservations", "a", refuse),
    ):
        pass
    assert seen(tmp_path) == []


def test_a_renewed_one_takes_the_place_of_the_first(tmp_path: Path) -> None:
    directory = tmp_path / "reservations"
    with (
        reserved(directory, "other", lambda _: one(tmp_path, 1)),
        reserved(directory, "a", lambda _: one(tmp_path, 1_000_000)) as held,
    ):
        others: list[Reservation] = []

        def decide(found: Sequence[Reservation]) -> Reservation:
            others.extend(found)
            return one(tmp_path, 7)

        held.renew(decide)
        assert others == [one(tmp_path, 1)]
        assert held.mine == one(tmp_path, 7)
        assert seen(tmp_path) == [one(tmp_path, 7), one(tmp_path, 1)]

        def refuse(_others: Sequence[Reservation]) -> Reservation:
            raise ValueError("too little")

        with pytest.raises(ValueError, match="too little"):
            held.renew(refuse)
        assert seen(tmp_path) == [one(tmp_path, 7), one(tmp_path, 1)]
    assert seen(tmp_path) == []


def test_what_is_written_counts_as_taken_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 8192)
    device = tmp_path.stat().st_dev
    taken = (tmp_path / "file").stat().st_blocks * 512
    mine = Reservation(memory=0, disks={device: taken + 5}, directory=tmp_path)
    assert mine.outstanding(device) == 5
    assert mine.outstanding(device + 1) == 0
