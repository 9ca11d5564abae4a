"""A kernel that a busy host emulated too late gets another chance; other ends are final."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from retrofit.verify.boot.machine import LOST, MachineLostError
from retrofit.verify.boot.scenario import SINGLE
from retrofit.verify.boot.trial import LATE_AT_MOST, Trial

PANIC = (
    "[    0.052000] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug"
    " and send a report.  Then try booting with the 'noapic' option."
)
OTHERS = ("Kernel panic - not syncing: VFS: Unable to mount root fs", "No bootable device.")


class Amphora:
    """An amphora whose kernel panics a number of times."""

    def __init__(self, console: str, times: int, accelerator: str) -> None:
        self.console, self.left, self.restarts = console, times, 0
        self.hardware = SimpleNamespace(accelerator=accelerator)
        self.machine = SimpleNamespace(age=0.0, require_alive=self._require_alive)
        self.scenario, self.id = SINGLE, "6e1f"
        self.agent, self.probe = object(), object()

    def _require_alive(self) -> None:
        if self.left:
            found = LOST.search(self.console)
            assert found is not None
            raise MachineLostError(f"the console shows: {found.group(0)}")

    def restart(self) -> None:
        self.left -= 1
        self.restarts += 1


def on_trial(amphora: Amphora, *, agent: str = "") -> Trial:
    request: Any = SimpleNamespace(
        settings=None,
        build=SimpleNamespace(ssh=True),
        log_dir=Path(),
        work_dir=Path(),
        progress=None,
        control_plane=None,
    )
    return Trial(cast(Any, amphora), request, full=True, agent=agent)


def test_a_kernel_without_ticks_is_switched_on_again() -> None:
    amphora = Amphora(PANIC, 2, "tcg")
    trial = on_trial(amphora)
    for _ in range(4):
        trial.require_alive()
    assert amphora.restarts == 2


def test_a_timer_that_never_works_is_the_images_fault() -> None:
    amphora = Amphora(PANIC, 100, "tcg")
    trial = on_trial(amphora)
    for _ in range(LATE_AT_MOST):
        trial.require_alive()
    with pytest.raises(MachineLostError, match="IO-APIC"):
        trial.require_alive()
    assert amphora.restarts == LATE_AT_MOST


@pytest.mark.parametrize(
    ("console", "accelerator"), [(PANIC, "kvm"), *((other, "tcg") for other in OTHERS)]
)
def test_every_other_end_is_final(console: str, accelerator: str) -> None:
    amphora = Amphora(console, 1, accelerator)
    with pytest.raises(MachineLostError):
        on_trial(amphora).require_alive()
    assert amphora.restarts == 0
