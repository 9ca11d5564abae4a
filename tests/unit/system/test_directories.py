"""Whoever comes first to a new machine makes its directories for us and our group alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from retrofit import state
from retrofit.chronicle import alone_with
from retrofit.config import LockSettings, Target
from retrofit.lock import held
from retrofit.notify import Outbox
from retrofit.places import make_place, make_places
from retrofit.shelf import shelf_for
from retrofit.streams.cache import Cache
from scheduler.worker import _alone


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def entered(context: AbstractContextManager[object]) -> None:
    with context:
        pass


COMERS: dict[str, Callable[[Path], None]] = {
    "record": lambda place: state.write(place / "a" / "b.json", {}),
    "chronicle": lambda place: entered(alone_with(place, "default")),
    "lock": lambda place: entered(held(LockSettings(), place, "default")),
    "outbox": lambda place: entered(Outbox(place).alone()),
    "shelf": lambda place: entered(shelf_for([Target(name="a"), Target(name="b")], place)),
    "cache": lambda place: entered(Cache(place / "sources", limit=0).place("a" * 64)),
    "worker": lambda place: entered(_alone(place)),
    "place": make_places,
}


@pytest.mark.parametrize("come", COMERS.values(), ids=COMERS)
def test_whoever_comes_first_lets_no_stranger_in(
    come: Callable[[Path], None], tmp_path: Path
) -> None:
    place = tmp_path / "new" / "retrofit"
    come(place)
    assert [oct(stat.S_IMODE(each.stat().st_mode)) for each in (place.parent, place)] == [
        oct(0o750)
    ] * 2


def test_a_directory_that_is_there_stays_as_somebody_made_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_places(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_what_is_no_directory_is_told_or_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    make_places(tmp_path / "file" / "place")
    with pytest.raises(OSError, match="file"):
        make_place(tmp_path / "file" / "place")
