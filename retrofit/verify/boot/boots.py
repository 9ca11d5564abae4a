"""The boots of one verification: side by side where memory allows, else one after the other."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import structlog

from retrofit.control_plane.expectation import findings
from retrofit.system.memory import memory
from retrofit.system.progress import Progress
from retrofit.system.sizes import MEBIBYTE
from retrofit.system.threads import start_in_time
from retrofit.verify.boot.amphora import Amphora, running
from retrofit.verify.boot.registry import BootCheck
from retrofit.verify.boot.scenario import SCENARIOS, Scenario
from retrofit.verify.boot.trial import Trial
from retrofit.verify.checks import Record
from retrofit.verify.control_plane.language import add
from retrofit.verify.request import VerifyRequest

log = structlog.get_logger(__name__)

QEMU_ITSELF = 256
"""MiB of memory that QEMU needs besides its guest's, most of it for translated code."""


def boot(
    request: VerifyRequest,
    record: Record,
    checks: Collection[BootCheck],
    *,
    full: bool,
    facts: Mapping[str, str],
) -> tuple[str, dict[str, str]]:
    """Boot the image once for each scenario that has checks; return `kvm` or `tcg`, and facts.

    `facts` are those that the image's files show. Emulation anywhere makes it `tcg`.
    """
    boots = [
        _Boot(
            request=request,
            scenario=scenario,
            checks=[check for check in checks if check.scenario == scenario],
            full=full,
            agent=facts.get("amphora_agent_version", ""),
        )
        for scenario in SCENARIOS
    ]
    boots = [each for each in boots if each.checks]
    if len(boots) > 1 and _memory_for(len(boots), request):
        _side_by_side(boots, request.progress)
    else:
        for each in boots:
            each.run()
    seen: dict[str, str] = {}
    for each in boots:
        record.checks += each.record.checks
        seen = {**each.facts, **seen}
    return "kvm" if {each.accelerator for each in boots} == {"kvm"} else "tcg", seen


def _memory_for(machines: int, request: VerifyRequest) -> bool:
    """Return True if so many machines have room at a time, in what is reserved for them."""
    available = memory().available
    if request.memory is not None:
        available = min(available, request.memory)
    return available // MEBIBYTE >= machines * (request.settings.memory + QEMU_ITSELF)


def _side_by_side(boots: Sequence[_Boot], progress: Progress) -> None:
    """Run all of them at a time, the first one in this thread.

    Whatever ends one of them otherwise than by a verdict ends the others.
    """
    gate = threading.Lock()

    def shown(name: str) -> Progress:
        def show(phrase: str, fraction: float | None) -> None:
            with gate:
                progress(f"{name}: {phrase}", fraction)

        return show

    for each in boots:
        each.request = replace(each.request, progress=shown(each.scenario.name))
    first, *others = boots
    with ThreadPoolExecutor(len(others), thread_name_prefix="boot") as executor:
        started: list[Future[None]] = []
        try:
            for each in others:
                # With the names of the run in the log.
                work = partial(contextvars.copy_context().run, each.run)
                started.append(start_in_time(partial(executor.submit, work)))
            first.run()
            for future in started:
                future.result()
        except BaseException:
            for each in boots:
                each.abandon()
            raise


class _Boot:
    """One boot: its checks, and what came of them."""

    def __init__(
        self,
        *,
        request: VerifyRequest,
        scenario: Scenario,
        checks: list[BootCheck],
        full: bool,
        agent: str,
    ) -> None:
        self.request = request
        self.scenario = scenario
        self.checks = checks
        self.record = Record()
        self.accelerator = ""
        self.facts: dict[str, str] = {}
        self._full = full
        self._agent = agent
        self._amphora: Amphora | None = None
        self._abandoned = False

    def run(self) -> None:
        """Boot the image, go through the checks, and switch the machine off."""
        with running(self.request, self.scenario) as amphora:
            self._amphora = amphora
            if self._abandoned:
                return
            trial = Trial(amphora, self.request, full=self._full, agent=self._agent)
            trial.run(self.record, self.checks)
            if trial.control_plane is not None and trial.language:
                add(findings(trial.control_plane, trial.language, proven=True), self.record)
            if not trial.evident:
                self.request.progress("collecting evidence", None)
                trial.collect_evidence()
            self.accelerator, self.facts = amphora.hardware.accelerator, trial.facts

    def abandon(self) -> None:
        """End it from another thread: the power goes, and so does whatever it waits for."""
        self._abandoned = True
        if self._amphora is not None:
            self._amphora.namespace.abandon()
            self._amphora.machine.cut_power()
