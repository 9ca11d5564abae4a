"""How long all tries before a build take together: side by side, as the slowest of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrofit.config import BuildSettings, VerifySettings
from retrofit.operations.doctor import examine
from tests.archive.packages import Package
from tests.archive.small_archive import SmallArchive, small_archive
from tests.integration.conftest import *  # noqa: F403 -- the harness and its fixtures
from tests.integration.harness import CloudHarness

WITHIN = 20.0


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[SmallArchive]:
    with small_archive(tmp_path / "archive") as made:
        made.add("noble", Package(name="haproxy", version="2.8.5"))
        yield made


@pytest.mark.root
def test_doctor_takes_seconds(harness: CloudHarness, archive: SmallArchive) -> None:
    harness.source("20260911")
    settings = harness.settings
    target = settings.targets[0].model_copy(
        update={
            "build": BuildSettings(archive_mirror=archive.url),
            "verify": VerifySettings(level="full"),
        }
    )
    began = time.monotonic()
    (found,) = examine([target], settings)
    seconds = time.monotonic() - began
    each = ", ".join(f"{tried.name} {tried.seconds:.1f} s" for tried in found.tries)
    print(f"\nretrofit doctor: {seconds:.1f} s ({each})")
    assert [tried for tried in found.tries if tried.outcome == "failed"] == []
    assert seconds < WITHIN
