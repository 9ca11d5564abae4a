"""Who is there at the beginning of a history, drawn by a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.model.installations import Installation, Site, accepted
from tests.model.judge import Judge
from tests.model.lagging import ObservedWorld
from tests.model.made import Old
from tests.model.processes import Processes
from tests.model.release_0_1 import Machine01
from tests.model.strangers import Strangers

TAG = "octavia-amphora"
STAGING = "octavia-amphora-staging"
SERVER = "redis://locks:6379"
CLOCKS = (0.0, 0.0, 0.0, 3.0, -3.0, 2.0 * 8766, -2.0 * 8766)
"""Hours by which the clock of a machine is ahead; an hour more or less, or two years."""


NOVAS_MARK = (("image_type", "snapshot"),)
"""A property by which an image would no longer look like one that we made."""


@dataclass(kw_only=True)
class Scene:
    """One project of one cloud, and everybody in it."""

    world: ObservedWorld
    witness: Judge
    strangers: Strangers
    processes: Processes
    installations: list[Installation]
    old: list[Machine01]
    directory: Path
    exclude_0_1: bool = False
    """Of all installations: whether 0.1.0 may still run anywhere."""
    sites_made: int = 0

    def new_site(self, host: str, clock: float) -> Site:
        """Add a machine, or a second state directory of one."""
        self.sites_made += 1
        return Site(
            name=f"machine {self.sites_made}",
            host=host,
            directory=self.directory / str(self.sites_made),
            clock=timedelta(hours=clock),
        )


def draw(seed: int, directory: Path) -> Scene:
    """Draw one scene: one to three installations with one or two machines each."""
    chance = random.Random(seed)  # noqa: S311  (not for secrets)
    world = ObservedWorld(seed, lag=chance.choice((0, 0, 0, 3)))
    witness = Judge(world)
    strangers = Strangers(world, witness)
    scene = Scene(
        world=world,
        witness=witness,
        strangers=strangers,
        processes=Processes(world, witness),
        installations=[],
        old=[],
        directory=directory,
    )
    kinds = chance.choice(
        (
            ((TAG, "default"),),
            ((TAG, "default"),),
            ((TAG, "default"), (STAGING, "default")),
            ((TAG, "default"), (STAGING, "default")),
            ((TAG, "default"), (STAGING, "staging")),
            ((TAG, "default"), (TAG, "second")),
            ((TAG, "default"), (STAGING, "default"), (TAG, "second")),
        )
    )
    olds = chance.choice(
        ((), (), (), ((TAG, "default"),), ((TAG, "default"), (STAGING, "default")))
    )
    scene.exclude_0_1 = bool(olds) or chance.random() < 0.3
    for number, (tag, target_name) in enumerate(kinds, start=1):
        scene.installations.append(_installation(scene, chance, number, tag, target_name))
    for tag, target_name in olds:
        scene.old.append(
            Machine01(
                old=Old(tag=tag, target_name=target_name),
                host=chance.choice(("host-a", "host-o")),
                world=world,
                witness=witness,
                strangers=strangers,
            )
        )
    return scene


def _installation(
    scene: Scene, chance: random.Random, number: int, tag: str, target_name: str
) -> Installation:
    shared = chance.random() < 0.4
    hosts = chance.choice((("host-a",), ("host-a",), ("host-a", "host-a"), ("host-a", "host-b")))
    sites = [scene.new_site(host, chance.choice(CLOCKS)) for host in hosts]
    publish: dict[str, Any] = {
        "keep": chance.choice((1, 2, 2, 3)),
        "retire_after": chance.choice((0, 0, 48)),
        "retire_after_unknown": chance.choice((0, 72, 72)),
        "hide": chance.choice((True, True, False)),
    }
    return Installation(
        name=f"installation {number}",
        tag=tag,
        target_name=target_name,
        sites=sites,
        lock_url=SERVER if shared else None,
        exclude_0_1=scene.exclude_0_1,
        trust=chance.choice((0, 1)),
        level=chance.choice((0, 1)),
        publish=publish,
        properties=accepted(chance.choice(((), (), (), (("hw_rng_model", "virtio"),), NOVAS_MARK))),
        query=chance.choice(("auto", "auto", "require", "never")),
    )
