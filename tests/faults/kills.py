"""Runs that get a signal at a random instant, and what each of them was found to have done."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from retrofit.errors import BuildError, InterruptedRunError
from retrofit.runs.directory import read_report, run_directories
from retrofit.runs.events import events
from tests.answers import answer
from tests.faults import driver, lines
from tests.faults.builds import Builds
from tests.faults.invariants import Before, before, healed, left, violations
from tests.integration.harness import CloudHarness

SEED = "RETROFIT_KILLS_SEED"
PATIENCE = 120.0
IMPATIENCE = 0.2
"""Seconds, at most, between the TERM and the KILL of somebody who does not want to wait."""
STOPPED = f"exit code {InterruptedRunError.exit_code}"
NO_STEP = ("before the plan", "after the last step")

BUILDERS = ("unshare", "process 1", "disk-image-create")
"""The processes of a build, each the child of the one before it."""


@dataclass(frozen=True, kw_only=True)
class Blow:
    """What was done to a run, during which step, and how that ended."""

    what: str
    step: str
    ended: str
    violations: tuple[str, ...] = ()

    def and_(self, found: Iterable[str]) -> Blow:
        """Add violations that were found later."""
        return replace(self, violations=(*self.violations, *found))


@dataclass(frozen=True, kw_only=True)
class Known:
    """What there was before a run: images, log directories of other runs, what killed ones left."""

    images: Before
    runs: set[Path]
    left: frozenset[str]


@dataclass(kw_only=True)
class Blows:
    """Runs that are struck, one after the other; `seed` decides when."""

    builds: Builds
    in_a_row: tuple[int, int] = (1, 3)
    """At least and at most so many between one run without faults and the next."""
    seed: int = field(default_factory=lambda: int(os.environ.get(SEED, "1")))
    struck: list[Blow] = field(default_factory=list)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311  (nothing is kept secret by it)

    def count(self, ended: str) -> int:
        """How many runs ended so."""
        return sum(blow.ended.startswith(ended) for blow in self.struck)

    def kill(self, times: int) -> None:
        """Kill so many runs, several in a row before one that nobody disturbs."""
        while self.count("killed") < times:
            self._have_something_to_do()
            for _ in range(self.chance.randint(*self.in_a_row)):
                self._strike(signal.SIGKILL)
            self._heal()

    def stop(self, times: int) -> None:
        """Stop so many runs as `systemctl stop` does; some are killed while they clean up."""
        while self.count(STOPPED) < times:
            self._have_something_to_do()
            for number in range(self.chance.randint(*self.in_a_row)):
                self._strike(signal.SIGTERM, then_kill=number > 0 and self.chance.random() < 0.5)
            self._heal()

    def strike_at_lines(self, number: signal.Signals, times: int, *, of: str = "") -> None:
        """Send the signal to so many runs, each when it comes to a line of a file below `of`."""
        instants = [each for each in self.instants() if str(each).startswith(of)]
        for instant in self.chance.sample(instants, min(times, len(instants))):
            self._have_something_to_do()
            known = self._known()
            send = partial(signal.raise_signal, number)
            running = self.builds.begin(before=lines.at(instant, send))
            self._judge(running, known, f"{number.name} at {instant}")
            self._heal()

    def instants(self) -> list[lines.Instant]:
        """Find all of a run that publishes."""
        self.builds.newer_source()
        story = self.builds.harness.directory / "lines"
        ended = self.builds.run(before=lines.told(story))
        assert self.builds.is_current, ended.stderr
        return lines.instants(story)

    def kill_builders(self, times: int) -> None:
        """Kill so many builds, and not the run: one of the processes that make it up."""
        while self.count(f"exit code {BuildError.exit_code}") < times:
            self._have_something_to_do()
            self._strike_builder(self.chance.choice(BUILDERS))
            self._heal("--force")

    @property
    def violations(self) -> list[str]:
        """Say everything that was found wrong, and after what."""
        return [
            f"{blow.what} during {blow.step} ({blow.ended}): {said}"
            for blow in self.struck
            for said in blow.violations
        ]

    def print_summary(self) -> None:
        """Print how many there were by step, how they ended, and what was found wrong."""
        print(f"seed {self.seed} ({SEED} sets another), a run takes {self.builds.length:.1f} s")
        for blow, times in sorted(
            Counter(replace(blow, violations=()) for blow in self.struck).items(),
            key=lambda counted: (counted[0].what, counted[0].ended, -counted[1]),
        ):
            print(f"{times:4} {blow.what}, {blow.ended}: {blow.step}")
        for said in self.violations:
            print(f"violation: {said}")
        print(f"{len(self.struck)} runs, {len(self.violations)} violations")

    def _have_something_to_do(self) -> None:
        if self.builds.is_current:
            self.builds.newer_source()

    def _strike(self, number: signal.Signals, *, then_kill: bool = False) -> None:
        instant = self.chance.uniform(0, self.builds.length)
        known = self._known()
        running = self.builds.begin()
        time.sleep(instant)
        running.send(number)
        if then_kill:
            time.sleep(self.chance.uniform(0, IMPATIENCE))
            running.send(signal.SIGKILL)
        self._judge(running, known, number.name + (" and SIGKILL" if then_kill else ""))

    def _known(self) -> Known:
        harness = self.builds.harness
        return Known(
            images=before(harness),
            runs=set(run_directories(harness.path("logs"))),
            left=frozenset(left(harness)),
        )

    def _left_since(self, known: Known) -> list[str]:
        """Say what a run left; what it found, it may have been stopped before it cleaned up."""
        return [said for said in left(self.builds.harness) if said not in known.left]

    def _judge(self, running: driver.Running, known: Known, what: str) -> None:
        harness = self.builds.harness
        ended = running.ended(self.builds.patience)
        run = new_run(harness, known.runs)
        step = step_of(run)
        found = violations(harness, known.images)
        if ended.signal != signal.SIGKILL:
            found += [
                *_of_the_end(ended, step),
                *_of_the_report(run),
                *self._left_since(known),
            ]
        self._note(Blow(what=what, step=step, ended=how(ended), violations=tuple(found)))

    def _strike_builder(self, which: str) -> None:
        harness, known = self.builds.harness, self._known()
        instant = self.chance.uniform(0, self.builds.length / 3)
        running = self.builds.begin("--force")
        victim = _builder(running, which)
        time.sleep(instant)
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        ended = running.ended(self.builds.patience)
        run = new_run(harness, known.runs)
        found = [*violations(harness, known.images), *_of_the_report(run), *self._left_since(known)]
        if ended.exit_code not in {0, BuildError.exit_code}:
            found.append(f"it ends with {how(ended)}: {ended.stderr}")
        blow = Blow(what=f"SIGKILL to {which}", step=step_of(run), ended=how(ended))
        self._note(blow.and_(found))

    def _note(self, blow: Blow) -> None:
        self.struck.append(blow)
        # Seen with `pytest -s`: hundreds of runs, or ten real builds, take their time.
        found = ", ".join(blow.violations) or "all is well"
        print(f"{len(self.struck)}: {blow.what}, {blow.ended}: {blow.step}: {found}", flush=True)

    def _heal(self, *words: str) -> None:
        """Let a run that nobody disturbs show that it ends as if nothing had happened."""
        harness = self.builds.harness
        was = before(harness)
        ended = self.builds.run(*words)
        found = healed(harness, was)
        if ended.exit_code != 0:
            found.append(f"it ends with {how(ended)}: {ended.stderr}")
        elif not self.builds.is_current:
            found.append("it leaves an image of an older source promoted")
        if self.builds.robbed():
            found.append("a build was robbed of its directory while it cleaned up")
        self.struck[-1] = self.struck[-1].and_(f"next run: {said}" for said in found)


def how(ended: driver.Ended) -> str:
    """Say how a command ended."""
    if ended.signal is None:
        return f"exit code {ended.exit_code}"
    if ended.signal == signal.SIGKILL:
        return "killed"
    return f"ended by {signal.Signals(ended.signal).name}"


def new_run(harness: CloudHarness, known: set[Path]) -> Path | None:
    """Find the log directory of a run that was not there; None where it did not get so far."""
    return next((path for path in run_directories(harness.path("logs")) if path not in known), None)


def step_of(run: Path | None) -> str:
    """Read in a run's events which step it was in when it ended."""
    told = [] if run is None else list(events(run))
    steps = [event["step"] for event in told if event["event"] == "step started"]
    if not steps:
        return NO_STEP[0]
    unfinished = {"failed", "interrupted"}
    is_over = told[-1]["event"] == "run ended" and told[-1]["outcome"] not in unfinished
    return NO_STEP[1] if is_over else str(steps[-1])


def _of_the_end(ended: driver.Ended, step: str) -> list[str]:
    """Say what is wrong with how a run ended that somebody stopped, or came too late to stop."""
    if ended.signal == signal.SIGTERM and step in NO_STEP:
        return []  # Python was just starting, or had nothing left to do but to end
    if ended.exit_code == InterruptedRunError.exit_code:
        return []
    if ended.exit_code == 0 and answer(ended.stdout)["outcome"] in {"published", "unchanged"}:
        return []
    return [f"it ends with {how(ended)}: {ended.stdout}{ended.stderr}"]


def _of_the_report(run: Path | None) -> list[str]:
    if run is not None and read_report(run) is None:
        return [f"{run.name} left no report"]
    return []


def _builder(running: driver.Running, which: str) -> int:
    """Wait for a process of the build, and return its id."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        pid = _supervision_below(running.pid)
        for _ in BUILDERS[: BUILDERS.index(which)]:
            pid = next(iter(_children(pid)), None) if pid is not None else None
        if pid is not None:
            return pid
        time.sleep(driver.POLL)
    running.send(signal.SIGKILL)
    running.ended()
    raise AssertionError("the run builds nothing")


def _supervision_below(run: int) -> int | None:
    """Find the child that makes the namespaces: not the one that tries whether it may."""
    for child in _children(run):
        with suppress(OSError):
            if b"\0retrofit.dib.supervise\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    return None


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*/children"):
        with suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found
