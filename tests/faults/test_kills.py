"""Whenever a run is killed or stopped, nothing is lost, and the next one makes up for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.devcloud.files import make_tiny
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.octavia import ImageManager
from tests.faults.builds import Builds
from tests.faults.kills import Blows
from tests.faults.quick_builds import ONE_BUILD_FOR_TWO, quick_builds
from tests.integration.harness import CloudHarness


def times(some: int, many: int) -> pytest.MarkDecorator:
    """Do it some times always, and many times in the slow suite."""
    slow = pytest.param(many, marks=pytest.mark.slow)
    return pytest.mark.parametrize("times", [some, slow])


@pytest.fixture(scope="module")
def quick(
    devcloud: Devcloud, image_manager: ImageManager, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Builds]:
    """Runs whose length is measured once for all tests."""
    devcloud.delete_all_images()
    directory = tmp_path_factory.mktemp("quick")
    yield quick_builds(
        CloudHarness(
            site=devcloud, manager=image_manager, directory=directory, make_image=make_tiny
        )
    )
    devcloud.delete_all_images()


@pytest.fixture
def blows(quick: Builds) -> Iterator[Blows]:
    made = Blows(builds=quick)
    yield made
    made.print_summary()


@times(1, 200)
def test_run_that_is_killed_loses_nothing(blows: Blows, times: int) -> None:
    blows.kill(times)
    assert blows.violations == []


@times(1, 60)
def test_run_that_is_stopped_leaves_nothing(blows: Blows, times: int) -> None:
    blows.stop(times)
    assert blows.violations == []


@pytest.mark.slow
def test_build_that_is_killed_fails_its_run_and_leaves_nothing(blows: Blows) -> None:
    blows.kill_builders(30)
    assert blows.violations == []


@pytest.mark.slow
def test_run_that_is_stopped_at_any_line_leaves_nothing(blows: Blows) -> None:
    blows.strike_at_lines(signal.SIGTERM, 100)
    assert blows.violations == []


@pytest.mark.slow
def test_run_that_is_killed_at_any_line_loses_nothing(blows: Blows) -> None:
    blows.strike_at_lines(signal.SIGKILL, 100)
    assert blows.violations == []


@pytest.mark.slow
def test_runs_that_share_a_build_lose_and_leave_nothing(harness: CloudHarness) -> None:
    blows = Blows(builds=quick_builds(harness, ONE_BUILD_FOR_TWO))
    blows.kill(30)
    blows.stop(15)
    blows.print_summary()
    assert blows.violations == []
