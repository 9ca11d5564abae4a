"""The loop devices of the machine that runs the tests."""

from __future__ import annotations

import pytest

from retrofit.produce.preflight.machine import LOOP_CONTROL, check_loop_devices


@pytest.mark.root
def test_of_this_machine_are_enough() -> None:
    if not LOOP_CONTROL.exists():
        pytest.skip("this machine has no loop devices")
    check_loop_devices()
