"""Whoever comes first to a new machine makes its directories for us and our group alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from retrofit.config import LockSettings, PathSettings, Target
from retrofit.lock.lock import held
from retrofit.notify import Outbox
from retrofit.produce.shared_builds import shared_builds
from retrofit.runs import store
from retrofit.runs.history import history_locked
from retrofit.runs.own_paths import claim_paths
from retrofit.simplestreams.cache import Cache
from retrofit.system.directories import make_directory
from scheduler.only_worker import only_worker


@pytest.fixture(autouse=True, params=[0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """That of a login, and that of a run's records."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def entered(context: AbstractContextManager[object]) -> None:
    with context:
        pass


def entered_paths(place: Path) -> None:
    claim_paths(PathSettings(logs=place), "logs")


COMERS: dict[str, Callable[[Path], None]] = {
    "record": lambda place: store.write(place / "a" / "b.json", {}),
    "history": lambda place: entered(history_locked(place, "default")),
    "lock": lambda place: entered(held(LockSettings(), place, "default")),
    "outbox": lambda place: entered(Outbox(place).alone("webhook")),
    "shared builds": lambda place: entered(
        shared_builds([Target(name="a"), Target(name="b")], place)
    ),
    "cache": lambda place: entered(Cache(place / "sources", limit=0).entry("a" * 64)),
    "worker": lambda place: entered(only_worker(place)),
    "run": entered_paths,
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
    make_directory(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_what_is_no_directory_is_told_or_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    claim_paths(PathSettings(cache=tmp_path / "file" / "place"), "cache")
    with pytest.raises(OSError, match="file"):
        make_directory(tmp_path / "file" / "place")
