"""What a run that died has left is not what the next ones lean on."""

from __future__ import annotations

import time

from tests.faults import driver
from tests.faults.cell import ordinary
from tests.faults.invariants import healed
from tests.integration.harness import CloudHarness

A_SECOND = 1.1
"""Glance dates images by whole seconds: which of two is newer has to be told."""


def test_what_was_never_promoted_takes_no_place_of_what_one_goes_back_to(
    harness: CloudHarness,
) -> None:
    was = ordinary(harness)
    died = driver.run(harness, "run-once", before=driver.at_step("promote", driver.die, begun=True))
    assert died.signal is not None
    time.sleep(A_SECOND)
    harness.source("20260912")
    assert driver.run(harness, "run-once").exit_code == 0
    assert healed(harness, was) == []
    assert driver.run(harness, "rollback", "--yes").exit_code == 0
    assert harness.octavia() == was.promoted
