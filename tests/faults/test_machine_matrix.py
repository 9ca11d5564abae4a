"""Every step of a run, and what its machine may lack, or take for the time, from there on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from retrofit.errors import BuildError
from tests.faults import clock, shortage
from tests.faults.cell import STEPS, tried
from tests.faults.shortage import Act
from tests.faults.table import Cell, keep
from tests.integration.harness import CloudHarness

FAULTS: dict[str, Callable[[str], Act]] = {**shortage.FAULTS, **clock.FAULTS}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A fault from the beginning of a step on."""

    step: str
    fault: str

    def __str__(self) -> str:
        return f"{self.step}-{self.fault}".replace(" ", "-")

    @property
    def is_seen_before(self) -> bool:
        """Return True for a clock that is far off when a build is decided: that is refused."""
        far = self.fault in clock.FAULTS and self.fault.endswith(("a day", "ten years"))
        return far and STEPS.index(self.step) <= STEPS.index("preflight")

    def cell(self, harness: CloudHarness) -> Cell:
        """Try it. What the machine does to a run is never told as a bug of ours."""
        cell = tried(harness, self.step, self.fault, FAULTS[self.fault](self.step))
        found = list(cell.violations)
        if cell.exit_code == 1:
            found.append("it is told as a bug")
        refused = (cell.exit_code, cell.ended) == (BuildError.exit_code, "previous")
        if self.is_seen_before and refused:
            return replace(cell, violations=tuple(found))
        if self.fault in clock.FAULTS and (cell.exit_code, cell.ended) != (0, "new"):
            found.append(f"a jump of the clock ended the run: exit code {cell.exit_code}")
        return replace(cell, violations=tuple(found))


def trials(step: str) -> list[Trial]:
    """Return all that is tried at a step."""
    return [Trial(step=step, fault=fault) for fault in FAULTS]


TELLING = (
    Trial(step="fetch", fault="work full"),
    Trial(step="build", fault="logs full"),
    Trial(step="promote", fault="state full"),
    Trial(step="upload", fault="work read-only"),
    Trial(step="verify", fault="no memory"),
    Trial(step="preflight", fault="no memory but for stacks"),
    Trial(step="preflight", fault="no loop devices"),
    Trial(step="plan", fault="clock set back by an hour"),
    Trial(step="build", fault="clock set on by ten years"),
)
"""One of each kind; `make test` tries the first ones, `make test-all` all."""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("trial", TELLING, ids=str)
def test_whatever_a_machine_does(harness: CloudHarness, trial: Trial) -> None:
    assert keep(trial.cell(harness)).violations == ()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_everything_that_a_machine_does(harness: CloudHarness, step: str) -> None:
    cells = [keep(trial.cell(harness)) for trial in trials(step) if trial not in TELLING]
    assert [said for cell in cells for said in cell.violations] == []
