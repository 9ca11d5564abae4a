"""A Glance of which every read may be some seconds behind every write.

So it is where a load balancer of databases sends reads to a replica that lags behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from retrofit.model import Image, Usage
from tests.model.memory_glance import Fault, MemoryGlance
from tests.model.world import Machine, World

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class VolumeBacked(Machine):
    """An amphora on a volume: Octavia never learns its image."""


class ObservedWorld(World):
    """A world that counts what happens in it, and can be seen as it was `lag` seconds ago."""

    def __init__(self, seed: int = 0, *, lag: float = 0) -> None:
        super().__init__(seed)
        self.lag = timedelta(seconds=lag)
        self.events = 0
        """How many calls and acts of others there have been."""
        self.lost: dict[str, int] = {}
        """Of which images the store has lost bytes, and with which event."""
        self._past: list[tuple[Any, dict[str, Image]]] = []

    def usage(self) -> Usage:
        """Answer as Octavia's API does."""
        answer = super().usage()
        volumes = {key for key, one in self.machines.items() if isinstance(one, VolumeBacked)}
        if not volumes:
            return answer
        return replace(
            answer,
            amphorae=tuple(
                replace(each, image_id=None) if each.id in volumes else each
                for each in answer.amphorae
            ),
        )

    def happens(self) -> None:
        """Count an event, and remember how things are before it."""
        self.events += 1
        if self.lag:
            self._past.append((self.now, dict(self.images)))
            while self._past[0][0] <= self.now - self.lag:
                self._past.pop(0)

    def seen(self, read: Callable[[], T]) -> T:
        """Read the images as they were a moment ago."""
        if not self.lag:
            return read()
        images = self.images
        # What was before the first event since then is what was then.
        since = [before for at, before in self._past if at > self.now - self.lag]
        self.images = since[0] if since else images
        try:
            return read()
        finally:
            self.images = images


class ObservedGlance(MemoryGlance):
    """A Glance in memory whose reads are as old as the world's lag."""

    def __init__(
        self,
        world: ObservedWorld,
        *,
        clock: Callable[[], timedelta],
        others: Callable[[int], None],
        fault: Fault | None = None,
    ) -> None:
        self.machine_clock = clock
        """How far the clock of the machine that asks is ahead of Glance's."""
        self._observed = world
        self._reads = False

        def happens(number: int) -> None:
            world.happens()
            others(number)

        super().__init__(world, others=happens, fault=fault)

    def watch(self, checker: Callable[[str, Image | None, Image | None], None]) -> None:
        """Have every change of an image, and every look at one, reported."""
        self._checker = checker

    def list(self, filters: Mapping[str, Any], *, hidden: bool | None = None) -> list[Image]:
        return self._read(lambda: super(ObservedGlance, self).list(filters, hidden=hidden))

    def get(self, image_id: str) -> Image | None:
        return self._read(lambda: super(ObservedGlance, self).get(image_id))

    def octavia_image(self, tag: str, owner: str | None = None) -> Image | None:
        return self._read(lambda: super(ObservedGlance, self).octavia_image(tag, owner))

    def _read(self, request: Callable[[], T]) -> T:
        self._reads = True
        try:
            return request()
        finally:
            self._reads = False

    def _call(self, act: Callable[[], T]) -> T:
        reads, self._reads = self._reads, False  # others act within, and write
        try:
            return super()._call((lambda: self._observed.seen(act)) if reads else act)
        finally:
            self._reads = reads
