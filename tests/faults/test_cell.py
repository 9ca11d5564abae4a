"""A cell tells a run that went well from one that did harm."""

from __future__ import annotations

from tests.faults import driver
from tests.faults.cell import tried
from tests.faults.judge import Before
from tests.integration.stage import TAG, Stage


def test_a_run_without_fault_is_a_cell_without_violation(stage: Stage) -> None:
    def act(stage: Stage, was: Before) -> driver.Ended:
        ended = driver.run(stage, "run-once")
        assert stage.octavia() != was.promoted
        assert len(stage.everything().keys() & was.images.keys()) == len(was.images) - 2
        return ended

    cell = tried(stage, "plan", "none", act)
    assert (cell.exit_code, cell.ended, cell.violations) == (0, "new", ())


def test_harm_is_a_violation(stage: Stage) -> None:
    def act(stage: Stage, was: Before) -> driver.Ended:
        ended = driver.run(stage, "plan")
        stage.client.image_tags.delete(was.promoted, TAG)
        return ended

    cell = tried(stage, "plan", "harm", act)
    assert any("Octavia finds no image" in said for said in cell.violations)
    assert cell.mark == "X"
