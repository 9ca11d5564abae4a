"""Runs that build from ever newer sources, and how long one of them takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retrofit.build.build import build
from tests.devcloud.files import copy, touch
from tests.faults import driver
from tests.integration.harness import CloudHarness


@dataclass(kw_only=True)
class Builds:
    """A harness, the stock image that all its sources are, and who verifies what is built."""

    harness: CloudHarness
    stock: Path
    verify: Callable[..., Any]
    prepare: Callable[[], object] = lambda: None
    """To be called in the process of every run."""
    robbed: Callable[[], bool] = lambda: False
    """Whether a build ever found its directory gone before it had cleaned up."""
    runs: int = 3
    """So many undisturbed ones tell how long one takes; the machine is not always as busy."""
    patience: float = 180.0
    """Seconds."""
    serial: int = 0
    source: str | None = None
    _took: list[float] = field(default_factory=list)

    @property
    def length(self) -> float:
        """Seconds that an undisturbed run takes here and now: builds, publishes and retires."""
        while len(self._took) < self.runs:
            self.publish()
        return statistics.median(self._took[-self.runs :])

    def newer_source(self) -> None:
        """Have the synchroniser replace the source by one that nobody has built from."""
        self.serial += 1
        version = f"20260911.{self.serial}"
        file = self.harness.directory / "newest.qcow2"
        copy(self.stock, file)
        touch(file, version)
        before, self.source = self.source, self.harness.source(version, file=file)
        if before is not None:
            self.harness.client.images.delete(before)

    @property
    def is_current(self) -> bool:
        """Say whether Octavia takes an image that was made from the newest source."""
        taken = self.harness.everything().get(self.harness.octavia() or "", {})
        return bool(taken) and taken["retrofit_source_id"] == self.source

    def begin(self, *words: str, before: Callable[[], object] = lambda: None) -> driver.Running:
        """Begin a run; `before` is called in its process."""

        def prepare() -> None:
            self.prepare()
            before()

        return driver.begin(
            self.harness,
            *("run-once", "-o", "json"),
            *words,
            before=prepare,
            build=build,
            verify=self.verify,
        )

    def run(self, *words: str, before: Callable[[], object] = lambda: None) -> driver.Ended:
        """Run to the end, and remember how long that took where it built and published."""
        began = time.monotonic()
        ended = self.begin(*words, before=before).ended(self.patience)
        if ended.exit_code == 0 and '"name": "build"' in ended.stdout:
            self._took.append(time.monotonic() - began)
        return ended

    def publish(self) -> None:
        """Have a newer source, and let a run publish what it makes of it."""
        self.newer_source()
        ended = self.run()
        assert self.is_current, ended.stderr
