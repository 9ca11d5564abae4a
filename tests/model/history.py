"""Random histories of one project: drawn by a seed, replayed, and made shorter when one fails.

A step is a name and a few numbers, which mean something at any place of any history: so steps can
be taken away from a history that fails, as long as it fails.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.model.memory_glance import Fault
from tests.model.player import Player
from tests.model.scenario import Scene, draw
from tests.model.step import Step
from tests.model.steps import INTERFERENCE, STEPS, WEIGHTS, play_step

LENGTH = (30, 40)
"""Steps of a history, the least and the most."""
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where the directories of machines are: a history makes some hundred, for a moment."""
LONGEST_SEARCH = 400
"""Histories that are tried to make a failing one shorter."""


@dataclass(frozen=True, kw_only=True)
class History:
    """One scene and what happens in it."""

    seed: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """Return the seed and all steps, as a failed test prints them."""
        return "\n".join([f"history {self.seed}:", *(f"  {step}" for step in self.steps)])


@dataclass(kw_only=True)
class Failure:
    """A history in which something happened that must not."""

    history: History
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the history and what is wrong."""
        return "\n".join([str(self.history), *(f"=> {each}" for each in self.broken)])


def draw_history(seed: int) -> History:
    """Draw a history; the same one for a seed, always."""
    chance = random.Random(f"history {seed}")  # noqa: S311  (not for secrets)
    length = chance.randint(*LENGTH)
    return History(seed=seed, steps=tuple(_draw_step(chance) for _ in range(length)))


def _draw_step(chance: random.Random) -> Step:
    step = Step(what=chance.choices(list(STEPS), weights=WEIGHTS)[0], numbers=_numbers(chance))
    if not STEPS[step.what].is_process:
        return step
    if chance.random() < 0.25:
        kind = chance.choice(Fault.KINDS)
        step = replace(step, fault=Fault(at=_call(chance), kind=kind))
    if chance.random() < 0.25:
        acts = tuple(
            (_call(chance), Step(what=chance.choice(INTERFERENCE), numbers=_numbers(chance)))
            for _ in range(chance.randint(1, 2))
        )
        step = replace(step, acts=acts)
    return step


def _numbers(chance: random.Random) -> tuple[int, int, int]:
    return chance.randrange(60), chance.randrange(60), chance.randrange(60)


def _call(chance: random.Random) -> int:
    """Choose one of a process's calls: it looks, creates, uploads and tags within the first."""
    return chance.randrange(chance.choice((20, 45)))


def play(history: History) -> list[str]:
    """Play a history; return what should not have been, empty where all is well."""
    directory = Path(tempfile.mkdtemp(prefix="retrofit-history-", dir=IN_MEMORY))
    try:
        scene: Scene = draw(history.seed, directory)
        player = Player(scene, play_step)
        with scene.processes.installed():
            player.begin()
            for step in history.steps:
                player.play(step)
                if scene.witness.broken:
                    return scene.witness.broken
        return []
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def first_failure(seeds: Sequence[int], *, shorten: bool = True) -> Failure | None:
    """Play one history of each seed; return the first that fails, as short as it can be made."""
    for seed in seeds:
        history = draw_history(seed)
        broken = play(history)
        if broken:
            failure = Failure(history=history, broken=broken)
            return shortened(failure) if shorten else failure
    return None


def shortened(found: Failure) -> Failure:
    """Take away steps, acts and faults as long as the history still fails in the same way."""
    kind = _kind(found.broken)
    tried = 0

    def fails(steps: Sequence[Step]) -> bool:
        nonlocal tried
        tried += 1
        candidate = History(seed=found.history.seed, steps=tuple(steps))
        said = play(candidate)
        if said and _kind(said) == kind:
            found.history, found.broken = candidate, said
            return True
        return False

    size = len(found.history.steps)
    while size and tried < LONGEST_SEARCH:
        position = 0
        while position < len(found.history.steps) and tried < LONGEST_SEARCH:
            steps = found.history.steps
            if not fails(steps[:position] + steps[position + size :]):
                position += size
        size //= 2
    _simplify(found, fails)
    return found


def _simplify(found: Failure, fails: Callable[[Sequence[Step]], bool]) -> None:
    for number, step in enumerate(found.history.steps):
        for simpler in (
            replace(step, fault=None, acts=()),
            replace(step, fault=None),
            replace(step, acts=()),
        ):
            steps = list(found.history.steps)
            if simpler != steps[number]:
                steps[number] = simpler
                if fails(steps):
                    break


def _kind(broken: list[str]) -> str:
    """Return the first finding without the words that name one image."""
    return " ".join(word for word in broken[0].split() if not any(map(str.isdigit, word)))
