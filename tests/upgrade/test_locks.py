"""In a rolling upgrade a machine of 0.1.0 and one of today never run a target at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrofit.lock.names import shared_name
from tests.devcloud import lock_servers
from tests.devcloud.lock_servers import LockServer
from tests.devcloud.places import CHECKOUT
from tests.upgrade.release import Release

LEASE = 30
TRY_SECONDS = 60
OLD = """
import sys
from pathlib import Path
from retrofit.config import LockSettings
from retrofit.errors import BusyError as Refused
from retrofit.lock import held
url, state = sys.argv[1:3]
settings = LockSettings(url=url or None)
try:
    with held(settings, Path(state), "default"):
        print("held", flush=True)
        sys.stdin.read()
except Refused:
    print("refused", flush=True)
"""
NEW = """
import sys
from pathlib import Path
from retrofit.config import LockSettings
from retrofit.errors import LockedError as Refused
from retrofit.lock.lock import held
url, state, name = sys.argv[1:4]
settings = LockSettings(url=url or None)
try:
    with held(settings, Path(state), "default", lambda: name.encode()):
        print("held", flush=True)
        sys.stdin.read()
except Refused:
    print("refused", flush=True)
"""
NAME = shared_name(project_id="p", region="r", tag="octavia-amphora", target="default").decode()

Run = Callable[[str, Path], "subprocess.Popen[str]"]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[LockServer]:
    with lock_servers.redis(tmp_path) as running:
        yield running


@pytest.fixture
def versions(release: Release) -> dict[str, Run]:
    """A process of each version that takes the lock of a target, until its stdin ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

    def old(url: str, state: Path) -> subprocess.Popen[str]:
        argv = [release.python, "-c", OLD, url, state]
        return subprocess.Popen(argv, cwd=release.source, **pipes)  # type: ignore[call-overload]

    def new(url: str, state: Path) -> subprocess.Popen[str]:
        argv = [sys.executable, "-c", NEW, url, state, NAME]
        return subprocess.Popen(argv, cwd=CHECKOUT, **pipes)  # type: ignore[call-overload]

    return {"old": old, "new": new}


@contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield whether the process holds the lock, and end it at the end of the block."""
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=TRY_SECONDS)
        assert process.returncode == 0


@pytest.mark.parametrize(("first", "second"), [("old", "new"), ("new", "old"), ("new", "new")])
def test_two_machines_with_one_redis(
    redis: LockServer, versions: dict[str, Run], first: str, second: str, tmp_path: Path
) -> None:
    """Whichever comes first: the other one is refused, and has it afterwards."""
    url = redis.url()
    with running(versions[first](url, tmp_path / "one")) as one:
        assert one == "held"
        with running(versions[second](url, tmp_path / "other")) as other:
            assert other == "refused"
    with running(versions[second](url, tmp_path / "other")) as other:
        assert other == "held"


@pytest.mark.parametrize(("first", "second"), [("old", "new"), ("new", "old")])
def test_two_versions_on_one_machine(
    versions: dict[str, Run], first: str, second: str, tmp_path: Path
) -> None:
    with running(versions[first]("", tmp_path)) as one:
        assert one == "held"
        with running(versions[second]("", tmp_path)) as other:
            assert other == "refused"


def test_many_of_both_at_once_never_run_together_and_none_waits_for_ever(
    redis: LockServer, versions: dict[str, Run], tmp_path: Path
) -> None:
    url = redis.url()
    for round_ in range(3):
        started = [
            versions[name](url, tmp_path / f"{round_}-{number}")
            for number, name in enumerate(("old", "new", "old", "new"))
        ]
        answers = []
        for process in started:
            assert process.stdout is not None
            answers.append(process.stdout.readline().strip())
        for process in started:
            process.communicate(timeout=TRY_SECONDS)
        assert answers.count("held") <= 1, answers
