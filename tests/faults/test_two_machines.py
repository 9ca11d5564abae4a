"""Two machines that share no lock change the same target at the same moment."""

from __future__ import annotations

import copy
import multiprocessing
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults import driver, proxy
from tests.faults.cell import ordinary
from tests.faults.invariants import healed, violations
from tests.faults.proxied import Proxied
from tests.faults.proxy import Request
from tests.integration.harness import TAG, CloudHarness

HELD = 1.5
"""Seconds for which the removal of a tag is under way: both have looked before the first ends."""
A_MOMENT = 0.3
"""Seconds between the two: Glance refuses two changes of one image's properties at once."""
A_SECOND = 1.1
"""Glance shows dates in whole seconds, and sorts by finer ones that it does not show."""
SIGHT = 30
"""Seconds in which the other one has to come so far."""


def untags(request: Request) -> bool:
    return request.method == "DELETE" and request.path.endswith(f"/tags/{TAG}")


@dataclass(frozen=True)
class Machines:
    """Both, on the way through a network in which the removal of a tag takes its time."""

    a: CloudHarness
    b: CloudHarness
    straight: CloudHarness
    """On the way to the same cloud that holds nothing up."""

    def both(
        self,
        on_a: tuple[str, ...],
        on_b: tuple[str, ...],
        *,
        wait: str = "demote",
        in_turn: bool = False,
        plan_together: bool = False,
    ) -> list[driver.Ended]:
        """Run a command on each, both past the point where each has promoted what it wants to.

        On b a command without that step waits after another one, `wait`; `in_turn` it begins when a
        has promoted. Runs that `plan_together` know nothing of each other's image; b's is newer.
        """
        context = multiprocessing.get_context("fork")
        meeting, promoted = context.Barrier(2), context.Event()
        elsewhere = f"{socket.gethostname()}-b"

        def meet() -> None:
            promoted.set()
            meeting.wait(SIGHT)

        def meet_on_b() -> None:
            meet()
            time.sleep(A_MOMENT)

        def plan_on_b() -> None:
            meet()
            time.sleep(A_SECOND)

        def be_b() -> None:
            socket.gethostname = lambda: elsewhere
            driver.at_step(wait, meet_on_b, begun=wait == "demote")()
            if plan_together:
                driver.at_step("plan", plan_on_b, begun=False)()

        def be_a() -> None:
            driver.at_step("demote", meet, begun=True)()
            if plan_together:
                driver.at_step("plan", meet, begun=False)()

        if in_turn:
            a = driver.begin(self.a, *on_a, before=be_a)
            assert promoted.wait(SIGHT)
            b = driver.begin(self.b, *on_b, before=be_b)
        else:
            b = driver.begin(self.b, *on_b, before=be_b)
            a = driver.begin(self.a, *on_a, before=be_a)
        return [a.ended(), b.ended()]


@pytest.fixture
def machines(faulty: Proxied) -> Iterator[Machines]:
    faulty.proxy.add(untags, proxy.delayed(HELD), times=None)
    straight = copy.copy(faulty.harness)
    with faulty.through(timeout=10) as a:
        b = copy.copy(a)
        b.machine = "b"
        yield Machines(a, b, straight)


def test_two_runs_that_publish_leave_the_newer_image(machines: Machines) -> None:
    harness = machines.straight
    was = ordinary(harness)
    ended = machines.both(("run-once",), ("run-once",), plan_together=True)
    assert violations(harness, was) == []
    said = "".join(each.stderr for each in ended)
    assert [each.exit_code for each in ended] == [7, 0], said
    assert "need the same lock.url" in said
    assert harness.tagged() - was.images.keys() == {harness.octavia()}
    assert driver.run(harness, "run-once").exit_code == 0
    assert healed(harness, was) == []


def test_run_beside_a_rollback_leaves_what_the_person_wanted(machines: Machines) -> None:
    harness = machines.straight
    older = harness.former("20260801", days=10)
    harness.promoted("20260911", days=5)
    harness.source("20260911")
    ended = machines.both(("rollback", "--yes"), ("run-once",), wait="clean-up")
    assert [each.exit_code for each in ended] == [0, 0]
    assert harness.tagged() == {older}
    assert driver.run(harness, "run-once").exit_code == 0
    assert harness.octavia() == older


@pytest.mark.slow
def test_two_persons_who_want_different_images_leave_one_of_them(machines: Machines) -> None:
    harness = machines.straight
    wanted = [harness.former("20260801", days=10), harness.former("20260805", days=8)]
    harness.promoted("20260911", days=5)
    ended = machines.both(*(("promote", image, "--yes") for image in wanted), in_turn=True)
    assert harness.octavia() in wanted
    assert 7 in {each.exit_code for each in ended}
    said = "".join(each.stderr for each in ended)
    assert "has its tag again" in said, said
    harness.source("20260911")
    assert driver.run(harness, "run-once").exit_code == 0
    assert harness.octavia() in wanted
    assert len(harness.tagged()) == 1
