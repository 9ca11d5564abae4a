"""Every step of a run, and what may happen to its process, and to Glance, before and after it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from retrofit.model import version_key
from tests.faults import driver
from tests.faults.cell import STEPS, tried
from tests.faults.invariants import Before
from tests.faults.table import Cell, keep
from tests.integration.harness import TAG, CloudHarness

Event = Callable[[CloudHarness, Before], object]
"""Happens in the process of the run, at the boundary of a step."""


def killed(_stage: CloudHarness, _was: Before) -> None:
    driver.die()


def told_to_stop(_stage: CloudHarness, _was: Before) -> None:
    driver.be_stopped()


def interrupted(_stage: CloudHarness, _was: Before) -> None:
    signal.raise_signal(signal.SIGINT)


def hung_up(_stage: CloudHarness, _was: Before) -> None:
    signal.raise_signal(signal.SIGHUP)


def another_run_here(harness: CloudHarness, _was: Before) -> None:
    """Start a second run on the same machine, which has to find this one busy."""
    ended = driver.run(harness, "run-once")
    assert ended.exit_code == 75, ended.stderr


def another_run_elsewhere(harness: CloudHarness, _was: Before) -> None:
    """Have another machine, which knows nothing of our lock, do all of the work meanwhile."""
    machine, harness.machine = harness.machine, "b"
    try:
        ended = driver.run(harness, "run-once")
    finally:
        harness.machine = machine
    assert ended.exit_code == 0, ended.stderr


def newest_source_gone(harness: CloudHarness, was: Before) -> None:
    """Rotate the newest source away, as the synchroniser does."""
    _delete(harness, _newest_source(was))


def _newest_source(was: Before) -> str:
    sources = (image for image in was.images.values() if "product_name" in image)
    return str(max(sources, key=lambda image: version_key(image["version_name"]))["id"])


def newer_source(harness: CloudHarness, _was: Before) -> None:
    harness.source("20260912")


def our_new_image_gone(harness: CloudHarness, was: Before) -> None:
    for image_id in harness.everything().keys() - was.images.keys():
        _delete(harness, image_id)


def our_new_image_hidden(harness: CloudHarness, was: Before) -> None:
    for image_id in harness.everything().keys() - was.images.keys():
        harness.client.images.update(image_id, os_hidden=True)


def old_image_tagged(harness: CloudHarness, was: Before) -> None:
    """Have an operator take an older image back with other tools."""
    oldest = min(
        (image for image in was.images.values() if "retrofit_target" in image),
        key=lambda image: image["created_at"],
    )
    if oldest["id"] in harness.everything():
        harness.client.images.update(oldest["id"], os_hidden=False)
        harness.client.image_tags.update(oldest["id"], TAG)


def old_images_gone(harness: CloudHarness, was: Before) -> None:
    for image in was.images.values():
        if "retrofit_target" in image and image["id"] != was.promoted:
            _delete(harness, image["id"])


def _delete(harness: CloudHarness, image_id: str) -> None:
    if image_id in harness.everything():
        harness.client.images.delete(image_id)


ENDS: dict[str, Event] = {
    "KILL": killed,
    "TERM": told_to_stop,
    "INT": interrupted,
    "HUP": hung_up,
}
OTHERS: dict[str, Event] = {
    "another run here": another_run_here,
    "another run elsewhere": another_run_elsewhere,
    "newest source gone": newest_source_gone,
    "newer source": newer_source,
    "our new image gone": our_new_image_gone,
    "our new image hidden": our_new_image_hidden,
    "old image tagged": old_image_tagged,
    "old images gone": old_images_gone,
}
TAKING = (our_new_image_gone, our_new_image_hidden)
FAR_FROM_HOME = frozenset({"newest source gone", "our new image gone", "our new image hidden"})
"""What somebody took away: the run says so and fails, and the next one makes it good."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An event right before a step or right after it, `times` runs in a row."""

    step: str
    event: str
    begun: bool
    times: int = 1

    @property
    def name(self) -> str:
        when = "before" if self.begun else "after"
        return f"{self.event} {when}" + (f" x {self.times}" if self.times > 1 else "")

    def __str__(self) -> str:
        return f"{self.step}-{self.name}".replace(" ", "-")

    def cell(self, harness: CloudHarness) -> Cell:
        """Try it."""
        event = {**ENDS, **OTHERS}[self.event]

        def act(harness: CloudHarness, was: Before) -> driver.Ended:
            happens = partial(event, harness, was)
            for _ in range(self.times):
                put_in = driver.at_step(self.step, happens, begun=self.begun)
                ended = driver.run(harness, "run-once", before=put_in)
                if self.event == "KILL":
                    assert ended.signal == signal.SIGKILL
                elif self.event in ENDS:
                    assert ended.exit_code == 130, ended.stderr
                elif self.event in FAR_FROM_HOME:
                    assert ended.exit_code in {0, 4, 7}, ended.stderr
                else:
                    assert ended.exit_code == 0, ended.stderr
            if event is newest_source_gone:
                was.images.pop(_newest_source(was))  # it was not we who took that
            if event in TAKING and (self.step, self.begun) == (STEPS[-1], False):
                was.promoted = None  # nor that, when all was done
            return ended

        return tried(harness, self.step, self.name, act)


def trials(step: str) -> list[Trial]:
    """Return all that is tried at a step.

    Once an image is promoted, a run that died has left no such step to the next one.
    """
    again = STEPS.index(step) <= STEPS.index("promote")
    return [
        *(
            Trial(step=step, event=event, begun=begun)
            for event in (*ENDS, *OTHERS)
            for begun in (True, False)
        ),
        *([Trial(step=step, event="KILL", begun=True, times=3)] if again else []),
    ]


TELLING = (
    Trial(step="upload", event="KILL", begun=False),
    Trial(step="promote", event="KILL", begun=False, times=1),
    Trial(step="demote", event="TERM", begun=True),
    Trial(step="build", event="another run here", begun=True),
    Trial(step="verify", event="another run elsewhere", begun=False),
    Trial(step="upload", event="our new image gone", begun=False),
    Trial(step="demote", event="our new image gone", begun=False),
    Trial(step="fetch", event="newest source gone", begun=True),
)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("trial", TELLING, ids=str)
def test_whatever_happens_at_a_step(harness: CloudHarness, trial: Trial) -> None:
    assert keep(trial.cell(harness)).violations == ()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_everything_that_happens_at_a_step(harness: CloudHarness, step: str) -> None:
    cells = [keep(trial.cell(harness)) for trial in trials(step) if trial not in TELLING]
    assert [said for cell in cells for said in cell.violations] == []
