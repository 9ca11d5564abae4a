"""Every request of a run, and everything that may happen to one between us and the cloud."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

import pytest

from tests.faults import driver, proxy
from tests.faults.cell import tried
from tests.faults.invariants import Before
from tests.faults.proxied import Proxied
from tests.faults.proxy import Fault, Request
from tests.faults.table import Cell, keep
from tests.integration.harness import CloudHarness

TIMEOUT = 10
STALL = 3.0
IMPATIENT = 1
"""Seconds: time limits of requests, and how long an answer stalls.

A busy machine may take more than a second for a request that nothing is wrong with, so that only
where the time limit itself is what is tried a client gives up that early.
"""
WAITED_FOR = ("stall", "trickle", "stop reading")
"""How names of faults begin that last for STALL."""
RUN_SECONDS = 120.0
IMAGE = "/v2/images/[^/]+"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One kind of request of a run that publishes, and which of that kind."""

    name: str
    service: str
    method: str
    path: str
    query: str = ""
    after: int = 0
    """How many of that kind are let through first."""
    body: bool = False
    """Whether its request carries an image, or its answer does."""

    def is_kind(self, request: Request) -> bool:
        return (
            (request.service, request.method) == (self.service, self.method)
            and re.fullmatch(self.path, request.path) is not None
            and self.query in request.query
        )


glance = partial(Step, service="glance")
keystone = partial(Step, service="keystone")
STEPS = (
    keystone(name="discover", method="GET", path="/v3"),
    keystone(name="log in", method="POST", path="/v3/auth/tokens"),
    glance(name="read versions", method="GET", path="/"),
    glance(name="list images", method="GET", path="/v2/images", query="retrofit_target="),
    glance(name="read schema", method="GET", path="/v2/schemas/image"),
    glance(name="list sources", method="GET", path="/v2/images", query="os_distro=ubuntu"),
    glance(name="download", method="GET", path=f"{IMAGE}/file", body=True),
    keystone(name="renew token", method="POST", path="/v3/auth/tokens", after=1),
    glance(name="create", method="POST", path="/v2/images"),
    glance(name="upload", method="PUT", path=f"{IMAGE}/file", body=True),
    glance(name="look after upload", method="GET", path=IMAGE),
    glance(name="look before tag", method="GET", path=IMAGE, after=1),
    glance(name="tag", method="PUT", path=f"{IMAGE}/tags/.*"),
    glance(name="mark as promoted", method="PATCH", path=IMAGE),
    glance(name="list again", method="GET", path="/v2/images", query="retrofit_target=", after=2),
    glance(name="mark as demoted", method="PATCH", path=IMAGE, after=1),
    glance(name="untag", method="DELETE", path=f"{IMAGE}/tags/.*"),
    glance(name="hide", method="PATCH", path=IMAGE, after=2),
    glance(name="ask as Octavia", method="GET", path="/v2/images", query="sort="),
    glance(name="delete", method="DELETE", path=IMAGE),
)

MAY_PASS = (
    proxy.status(429, retry_after=1),
    proxy.status(500),
    proxy.status(503),
    proxy.status_late(503),
    proxy.delayed(0.5),
    proxy.cut_before(),
    proxy.cut_request(),
    proxy.cut_after(),
    proxy.stall(STALL),
    proxy.stall_after(STALL),
    proxy.stall_body(STALL),
    proxy.truncate(),
    proxy.garbage(),
)
"""Met once, none of these may keep a run from publishing."""
FINAL = tuple(proxy.status(code) for code in (401, 403, 404, 409, 413))
FOR_BODIES = (
    proxy.corrupt(),
    proxy.trickle(STALL),
    proxy.stop_reading(STALL),
    proxy.status_early(503),
)
LASTING = (
    *(proxy.status(code) for code in (401, 403, 404, 409, 413, 500, 503)),
    proxy.cut_before(),
    proxy.cut_after(),
    proxy.stall(STALL),
    proxy.truncate(),
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A fault for one request of a kind, or for all of them from there on."""

    step: Step
    fault: Fault
    lasting: bool = False

    @property
    def name(self) -> str:
        return f"{self.fault.name}, lasting" if self.lasting else self.fault.name

    @property
    def timeout(self) -> int:
        """Seconds that the run waits for an answer."""
        return IMPATIENT if self.fault.name.startswith(WAITED_FOR) else TIMEOUT

    def __str__(self) -> str:
        return f"{self.step.name}-{self.name}".replace(" ", "-")

    def cell(self, faulty: Proxied) -> Cell:
        """Try it."""
        met: list[Request] = []

        def act(harness: CloudHarness, _was: Before) -> driver.Ended:
            faulty.proxy.clear()
            faulty.proxy.add(
                self.step.is_kind,
                self.fault,
                times=None if self.lasting else 1,
                after=self.step.after,
            )
            with faulty.through(timeout=self.timeout):
                ended = driver.run(harness, "run-once", timeout=RUN_SECONDS)
            met.extend(faulty.proxy.hit)
            faulty.proxy.clear()
            return ended

        cell = tried(faulty.harness, self.step.name, self.name, act)
        found = [*cell.violations]
        if not met:
            found.append("the fault was never met")
        if (
            self.fault in MAY_PASS
            and not self.lasting
            and (cell.exit_code, cell.ended) != (0, "new")
        ):
            found.append(f"what may pass ended the run: exit code {cell.exit_code}")
        return Cell(
            step=cell.step,
            fault=cell.fault,
            exit_code=cell.exit_code,
            ended=cell.ended,
            violations=tuple(found),
        )


def trials(step: Step) -> list[Trial]:
    """Return all that is tried at a step."""
    once = (*MAY_PASS, *FINAL, *(FOR_BODIES if step.body else ()))
    return [
        *(Trial(step=step, fault=fault) for fault in once),
        *(Trial(step=step, fault=fault, lasting=True) for fault in LASTING),
    ]


def named(step: str, fault: str, *, lasting: bool = False) -> Trial:
    (found,) = (
        trial
        for each in STEPS
        for trial in trials(each)
        if (each.name, trial.fault.name, trial.lasting) == (step, fault, lasting)
    )
    return found


TELLING = (
    named("log in", "status 503"),
    named("list sources", "truncate"),
    named("download", "cut after"),
    named("download", "corrupt"),
    named("create", "cut after"),
    named("create", "status 503 late"),
    named("upload", "status 401"),
    named("upload", "cut request"),
    named("upload", "cut after"),
    named("upload", "status 503", lasting=True),
    named("upload", "garbage"),
    named("tag", "stall after"),
    named("tag", "garbage"),
    named("untag", "status 500", lasting=True),
    named("delete", "status 409"),
)
"""One of each kind of trouble; `make test` tries the first ones, `make test-all` all."""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("trial", TELLING, ids=str)
def test_whatever_happens_to_a_request(faulty: Proxied, trial: Trial) -> None:
    assert keep(trial.cell(faulty)).violations == ()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.replace(" ", "-"))
def test_everything_that_happens_to_a_request(faulty: Proxied, step: Step) -> None:
    cells = [keep(trial.cell(faulty)) for trial in trials(step) if trial not in TELLING]
    assert [said for cell in cells for said in cell.violations] == []
