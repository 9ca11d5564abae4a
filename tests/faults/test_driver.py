"""The driver runs the real command line, and lets it be killed and stopped where a test says."""

from __future__ import annotations

import signal

import pytest

from tests.faults import driver
from tests.faults.judge import before, healed, violations
from tests.integration.stage import Stage


def test_runs_a_command_to_its_end(stage: Stage) -> None:
    stage.source("20260911.1")
    ended = driver.run(stage, "run-once", "-o", "json")
    assert (ended.exit_code, ended.signal) == (0, None)
    assert '"outcome": "published"' in ended.stdout


@pytest.mark.parametrize("begun", [True, False])
def test_dies_where_it_was_told_to(stage: Stage, begun: bool) -> None:
    stage.source("20260911.1")
    stage.promoted("20260801", days=10)
    was = before(stage)
    ended = driver.run(stage, "run-once", before=driver.at_step("promote", driver.die, begun=begun))
    assert ended.signal == signal.SIGKILL
    assert (stage.octavia() == was.promoted) == begun
    assert violations(stage, was) == []
    assert driver.run(stage, "run-once").exit_code == 0
    assert healed(stage, was) == []


def test_is_stopped_where_it_was_told_to(stage: Stage) -> None:
    stage.source("20260911.1")
    at_build = driver.at_step("build", driver.be_stopped, begun=True)
    ended = driver.run(stage, "run-once", before=at_build)
    assert ended.exit_code == 130
    assert "interrupted during" in ended.stderr


def test_does_not_wait_for_ever(stage: Stage) -> None:
    forever = driver.at_step("plan", signal.pause, begun=True)
    with pytest.raises(driver.RanTooLongError):
        driver.run(stage, "run-once", before=forever, timeout=1)
