"""Pass after pass of the command line, each judged, while the network fails now and then."""

from __future__ import annotations

import copy
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from tests.answers import answer
from tests.devcloud.files import make_tiny
from tests.faults import driver
from tests.faults.cell import ordinary
from tests.faults.invariants import Before, before, healed, violations
from tests.faults.proxied import Proxied
from tests.faults.random_faults import RandomFaults
from tests.integration.fake_builder import FakeBuilder
from tests.integration.harness import CloudHarness

TIMEOUT = 1
LONGEST_PASS = 120.0
LATEST_KILL = 2.0
"""Seconds into a pass; without faults it has ended by then."""
SOURCES_KEPT = 2
SERIES = "20260911"
WAYS = {"alone": 80, "killed": 12, "two at once": 8}
TOLD = 1500
"""Characters of a command's story that are worth printing; the last ones tell most."""
FINE = ("published", "unchanged")


@dataclass(kw_only=True)
class Soak:
    """Passes on one cloud, and what was counted."""

    proxied: Proxied
    seed: int
    calm_every: int = 25
    """Passes from one without faults to the next."""
    random_faults: RandomFaults = field(init=False)
    passes: Counter[str] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    disk: list[int] = field(default_factory=list)
    """Bytes in the machines' directories after each pass."""
    images: list[int] = field(default_factory=list)
    """How many there are in Glance after each pass."""
    answers: int = 0
    """How often Octavia's driver was asked beside the passes."""
    _newest: int = 100
    _sources: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random_faults = RandomFaults(seed=self.seed)
        self._random = random.Random(self.seed)  # noqa: S311  (chance, not secrets)
        base = make_tiny(self.harness.directory / "base.qcow2").read_bytes()
        self.harness.fake_builder = FakeBuilder(partial(_unlike_any_other, base))
        ordinary(self.harness)

    @property
    def harness(self) -> CloudHarness:
        return self.proxied.harness

    def run(self, passes: int) -> None:
        """Make so many passes, and judge what each has left."""
        for number in range(1, passes + 1):
            if self._random.random() < 1 / 3:
                self.newer_source()
            was = before(self.harness)
            way = self._way(number)
            self.random_faults.lately.clear()
            try:
                said = self.calm(was) if way == "calm" else self._stormy(way, was)
            except AssertionError as error:  # a traceback, or no end
                said = [str(error)[-TOLD:]]
            self.passes[way] += 1
            self._judged(f"pass {number} ({way})", said)
            self.disk.append(size_of(self.harness.directory / self.harness.machine))
            self.images.append(len(self.harness.everything()))

    def newer_source(self) -> None:
        """Bring a newer source and take the oldest away, as the synchroniser does."""
        self._newest += 1
        version = f"{SERIES}.{self._newest}"
        file = make_tiny(self.harness.directory / "source.qcow2", mark=version)
        self._sources.append(self.harness.source(version, file=file))
        file.unlink()
        while len(self._sources) > SOURCES_KEPT:
            self.harness.client.images.delete(self._sources.pop(0))

    def _way(self, number: int) -> str:
        if number % self.calm_every == 0:
            return "calm"
        return self._random.choices(list(WAYS), list(WAYS.values()))[0]

    def _stormy(self, way: str, was: Before) -> list[str]:
        self.proxied.proxy.chance(self.random_faults.choose)
        try:
            with self.harness.polled() as answers:
                problems = self._problems(way)
        finally:
            self.proxied.proxy.chance(None)
        said = [*problems, *violations(self.harness, was)]
        if None in [*answers, self.harness.octavia()]:
            said.append("Octavia found no image")
        self.answers += len(answers)
        return said

    def _problems(self, way: str) -> list[str]:
        """Let one or two runs come to their end; say what of it is a bug."""
        with self.proxied.through(timeout=TIMEOUT) as harness:
            running = [driver.begin(harness, "run-once")]
            if way == "two at once":
                running.append(driver.begin(_beside(harness), "run-once"))
            if way == "killed":
                time.sleep(self._random.uniform(0, LATEST_KILL))
                running[0].send(signal.SIGKILL)
            # All are waited for, whatever one has to tell: none may go on into the next pass.
            return [problem for each in running if (problem := self._end_of(each))]

    def _end_of(self, running: driver.Running) -> str | None:
        try:
            ended = running.ended(LONGEST_PASS)
        except AssertionError as error:
            self.exits["internal error"] += 1
            return str(error)[-TOLD:]
        self.exits["killed" if ended.exit_code is None else str(ended.exit_code)] += 1
        return None

    def calm(self, was: Before) -> list[str]:
        """Run without faults, and say what is not as if there had never been any."""
        ended = driver.run(self.harness, "run-once", "-o", "json")
        said = [*violations(self.harness, was), *healed(self.harness, was)]
        outcome = answer(ended.stdout or "{}").get("outcome")
        self.exits[f"calm: {outcome}"] += 1
        if outcome not in {*FINE, "backoff"}:
            said.append(f"it ends with exit code {ended.exit_code} ({outcome}): {ended.stderr}")
        elif outcome in FINE and self._sources:
            taken = self.harness.everything().get(self.harness.octavia() or "", {})
            if taken.get("source_version_name") != f"{SERIES}.{self._newest}":
                said.append(f"it leaves {taken.get('source_version_name')} promoted")
        return list(dict.fromkeys(said))

    def _judged(self, name: str, said: list[str]) -> None:
        for each in said:
            self.found.append(each)
            print(f"{name}: {each}", flush=True)
        if said:
            print(f"  after {'; '.join(self.random_faults.lately) or 'no fault'}", flush=True)

    def summary(self) -> str:
        """Say in a few lines what happened."""
        return "\n".join(
            (
                f"soak, seed {self.seed}: {self.passes.total()} passes ({_counted(self.passes)})",
                f"{self.random_faults.met.total()} faults: {_counted(self.random_faults.met)}",
                f"by exit code: {_counted(self.exits)}",
                f"bytes on disk first/last: {first_last(self.disk)};"
                f" images first/last: {first_last(self.images)}",
                f"{self.answers} answers to Octavia, {len(self.found)} violations",
            )
        )


def size_of(directory: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def first_last(values: list[int]) -> str:
    """Show the medians of the first quarter and of the last one, and the highest value of all."""
    if not values:
        return "none"
    first, last = (f"{median(quarter):.0f}" for quarter in quarters(values))
    return f"{first}/{last}, at most {max(values)}"


def quarters(values: list[int]) -> tuple[list[int], list[int]]:
    """Return the first quarter and the last one, leaving out a twentieth for the warm-up."""
    kept = values[len(values) // 20 :]
    quarter = max(1, len(kept) // 4)
    return kept[:quarter], kept[-quarter:]


def _beside(harness: CloudHarness) -> CloudHarness:
    """Return the same machine once more, with a standard output of its own."""
    other = copy.copy(harness)
    other.machine = "beside"
    link = harness.directory / other.machine
    if not link.exists():
        link.symlink_to(harness.machine)
    return other


def _unlike_any_other(base: bytes, path: Path) -> Path:
    """Make an image with bytes of its own, as every real build does.

    No program makes it: a run that is killed here must leave nothing that is the test's alone.
    """
    path.write_bytes(base + str(path).encode().ljust(512, b"\0"))
    return path


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counter.items())) or "none"
