"""What a repair does where Glance refuses one of its changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retrofit.errors import PublishError
from retrofit.model import Image
from retrofit.plan.authorship import PROMOTED_BY
from retrofit.publish import look_again
from retrofit.publish.repair import repair
from retrofit.runs.report import RunReport
from tests.model.memory_glance import MemoryGlance
from tests.unit.publish.test_rotate import TARGET, Scene


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_again, "PAUSE", 0.0)


class RefusingGlance(MemoryGlance):
    """A Glance that refuses some changes of an image, counted from the first."""

    refused: frozenset[int] = frozenset()
    changes = 0

    def _count(self) -> None:
        number, self.changes = self.changes, self.changes + 1
        if number in self.refused:
            conflict = RuntimeError("HTTP 409 Conflict")
            raise PublishError("Glance answers 409") from conflict

    def update(self, image_id: str, changes: Any) -> None:
        self._count()
        super().update(image_id, changes)

    def tag(self, image_id: str, tag: str) -> None:
        self._count()
        super().tag(image_id, tag)


def hidden(refused: set[int], *names: str) -> tuple[Scene, RefusingGlance, list[Image]]:
    """Images that were promoted, the last one still is, and somebody hid it."""
    scene = Scene()
    verified = {"retrofit_verification": "full-tcg"}
    images = [scene.image(name, tagged=name == names[-1], properties=verified) for name in names]
    scene.world.change(images[-1].id, hidden=True)
    glance = RefusingGlance(scene.world)
    glance.refused = frozenset(refused)
    return scene, glance, images


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_change_that_glance_refuses_once_is_tried_again(refused: int, tmp_path: Path) -> None:
    scene, glance, (image,) = hidden({refused}, "only")
    report = RunReport(run_id="run", target="default", log_dir=tmp_path)
    repair(TARGET, glance, report)  # type: ignore[arg-type]
    assert report.promoted == [image.id]
    after = scene.world.images[image.id]
    assert not after.hidden
    assert after.property(PROMOTED_BY) is not None


def test_an_image_whose_changes_glance_goes_on_refusing_is_passed_over(tmp_path: Path) -> None:
    _, glance, (older, _) = hidden({0, 1}, "older", "newest")
    report = RunReport(run_id="run", target="default", log_dir=tmp_path)
    repair(TARGET, glance, report)  # type: ignore[arg-type]
    assert report.promoted == [older.id]
    assert "Glance answers 409" in report.notes


def test_damaged_bytes_are_not_read_twice(tmp_path: Path) -> None:
    scene, glance, (image,) = hidden(set(), "only")
    scene.world.content[image.id] = b"others"
    report = RunReport(run_id="run", target="default", log_dir=tmp_path)
    repair(TARGET, glance, report)  # type: ignore[arg-type]
    assert report.promoted == []
    assert len([note for note in report.notes if note.startswith("cannot promote")]) == 1
