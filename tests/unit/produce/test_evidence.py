"""What keeps a run from reading or keeping evidence passes, unless it is the image itself."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from retrofit.archive.evidence import STATUS, Evidence, EvidenceError, pack
from retrofit.errors import CloudError, SourceError
from retrofit.model import BuiltImage, Image, Verdict
from retrofit.produce import evidence
from retrofit.produce.run import Run
from retrofit.produce.shared_builds import ProducedImage
from tests.model.memory_glance import MemoryGlance
from tests.model.world import World
from tests.unit.images import amphora
from tests.unit.produce.made import made_run

IMAGE = amphora(1, tagged=True)
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "evidence.tar.xz")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return made_run(tmp_path)


def attempts(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> int:
    """Return how often two runs download the image, where each attempt ends in an error."""
    glance: Any = MemoryGlance(World())
    tried: list[str] = []

    def download(image: Image, *_: Any) -> None:
        tried.append(image.id)
        raise error

    monkeypatch.setattr(glance, "download", download)
    for _ in range(2):
        assert not evidence.recover_evidence(run, glance, IMAGE)
    return len(tried)


@pytest.mark.parametrize(
    "error",
    [CloudError("Glance answers 503"), FULL],
    ids=["503 halfway", "disk full"],
)
def test_what_passes_is_tried_again_by_the_next_run(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    assert attempts(run, monkeypatch, error) == 2


@pytest.mark.parametrize(
    "error", [SourceError("no partition table"), EvidenceError("no dpkg status")]
)
def test_an_image_that_cannot_be_read_is_not_downloaded_each_hour(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    assert attempts(run, monkeypatch, error) == 1
    assert "cannot be read" in run.report.notes[0]


def produced() -> ProducedImage:
    built = BuiltImage(
        path=Path("amphora"), disk_format="raw", size=1, virtual_size=1, min_disk=1, sha512="x"
    )
    return ProducedImage(
        built=built,
        verdict=Verdict(checks=(), how="offline", facts={}),
        source_hashes={},
        source_size=1,
        run_id="run",
        evidence=pack(Evidence(files={STATUS: b"Package: a\n"})),
    )


def test_an_image_is_published_without_room_for_its_evidence(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(_path: Path, _data: bytes) -> int:
        raise FULL

    monkeypatch.setattr(Path, "write_bytes", full)
    glance: Any = MemoryGlance(World())
    evidence.keep_built(run, glance, IMAGE, produced(), tmp_path)
    assert "is not in Glance" in run.report.notes[0]
