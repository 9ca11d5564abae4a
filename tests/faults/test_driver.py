"""The driver runs the real command line, and lets it be killed and stopped where a test says."""

from __future__ import annotations

import signal

import pytest

from tests.faults import driver
from tests.faults.invariants import before, healed, violations
from tests.integration.harness import CloudHarness


@pytest.mark.slow
def test_runs_a_command_to_its_end(harness: CloudHarness) -> None:
    harness.source("20260911.1")
    ended = driver.run(harness, "run-once", "-o", "json")
    assert (ended.exit_code, ended.signal) == (0, None)
    assert '"outcome": "published"' in ended.stdout


@pytest.mark.sampled(1)
@pytest.mark.parametrize("begun", [True, False])
def test_dies_where_it_was_told_to(harness: CloudHarness, begun: bool) -> None:
    harness.source("20260911.1")
    harness.promoted("20260801", days=10)
    was = before(harness)
    ended = driver.run(
        harness, "run-once", before=driver.at_step("promote", driver.die, begun=begun)
    )
    assert ended.signal == signal.SIGKILL
    assert (harness.octavia() == was.promoted) == begun
    assert violations(harness, was) == []
    assert driver.run(harness, "run-once").exit_code == 0
    assert healed(harness, was) == []


def test_is_stopped_where_it_was_told_to(harness: CloudHarness) -> None:
    harness.source("20260911.1")
    at_build = driver.at_step("build", driver.be_stopped, begun=True)
    ended = driver.run(harness, "run-once", before=at_build)
    assert ended.exit_code == 130
    assert "interrupted during" in ended.stderr


def test_does_not_wait_for_ever(harness: CloudHarness) -> None:
    forever = driver.at_step("plan", signal.pause, begun=True)
    with pytest.raises(driver.RanTooLongError):
        driver.run(harness, "run-once", before=forever, timeout=1)
