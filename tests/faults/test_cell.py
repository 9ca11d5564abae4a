"""A cell tells a run that went well from one that did harm."""

from __future__ import annotations

import pytest

from tests.faults import driver
from tests.faults.cell import tried
from tests.faults.invariants import Before
from tests.integration.harness import TAG, CloudHarness


@pytest.mark.slow
def test_a_run_without_fault_is_a_cell_without_violation(harness: CloudHarness) -> None:
    def act(harness: CloudHarness, was: Before) -> driver.Ended:
        ended = driver.run(harness, "run-once")
        assert harness.octavia() != was.promoted
        assert len(harness.everything().keys() & was.images.keys()) == len(was.images) - 2
        return ended

    cell = tried(harness, "plan", "none", act)
    assert (cell.exit_code, cell.ended, cell.violations) == (0, "new", ())


@pytest.mark.slow
def test_harm_is_a_violation(harness: CloudHarness) -> None:
    def act(harness: CloudHarness, was: Before) -> driver.Ended:
        ended = driver.run(harness, "plan")
        harness.client.image_tags.delete(was.promoted, TAG)
        return ended

    cell = tried(harness, "plan", "harm", act)
    assert any("Octavia finds no image" in said for said in cell.violations)
    assert cell.mark == "X"
