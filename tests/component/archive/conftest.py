"""A signed archive of its own for each test, and a check as a run makes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrofit.archive.ask import ask
from retrofit.archive.evidence import Evidence
from retrofit.archive.offer import Offer, UpdateKind
from retrofit.config import BuildSettings
from tests.archive.small_archive import SmallArchive, small_archive


@dataclass
class Checks:
    """Checks of one target, which share a root."""

    root: Path
    build: BuildSettings = field(default_factory=BuildSettings)
    architecture: str = "amd64"

    def __call__(self, evidence: Evidence, *, now: datetime | None = None) -> Offer:
        return ask(
            evidence,
            self.root,
            architecture=self.architecture,
            build=self.build,
            now=now or datetime.now(UTC),
        )


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[SmallArchive]:
    with small_archive(tmp_path / "archive") as made:
        yield made


@pytest.fixture
def check(tmp_path: Path) -> Checks:
    # pytest's directories are for their owner alone; those of paths.cache are for their group.
    return Checks(tmp_path / "root")


def kinds(offer: Offer) -> dict[str, UpdateKind]:
    """Return the kind of each update, by package."""
    return {update.package: update.kind for update in offer.updates}
