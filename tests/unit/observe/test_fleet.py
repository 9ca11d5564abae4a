"""Which images the archive is asked about for a fleet."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from retrofit.config import PathSettings, Settings, Target
from retrofit.fleet.rollover.candidates import missing_fixes
from retrofit.model import Fleet, Image, Usage
from retrofit.observe import fleet
from retrofit.plan import Freshness, Inventory
from tests.unit.fleet.rollover.made import amphorae_of
from tests.unit.images import NOW, OWN
from tests.unit.images import amphora as image
from tests.unit.operations.rollover.memory import lacking

PROMOTED, OLD, UNUSED = image(9, tagged=True), image(8, promoted_before=True), image(7)
TARGET = Target()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that the archive was asked about; all lack the same fix."""
    seen: list[str] = []

    def freshness_of(which: Image, *_: Any) -> Freshness:
        seen.append(which.id)
        return lacking(which, "openssl")

    glance = SimpleNamespace(where="cloud", project_id=OWN, get=lambda _id: None)
    inventory = Inventory(images=(PROMOTED, OLD, UNUSED), own_project=OWN, now=NOW)
    running = Fleet(usage=Usage(amphorae=amphorae_of("lb", image=OLD.id)))
    monkeypatch.setattr(fleet, "Glance", SimpleNamespace(connect=lambda _cloud: glance))
    monkeypatch.setattr(fleet, "take_inventory", lambda *_: inventory)
    monkeypatch.setattr(fleet, "this_machine", lambda _settings: None)
    monkeypatch.setattr(fleet, "fleet", lambda _target: running)
    monkeypatch.setattr(fleet, "wanted_by_octavia", lambda _target: None)
    monkeypatch.setattr(fleet, "observe_control_plane", lambda _target: None)
    monkeypatch.setattr(fleet, "mismatches", lambda *_, **__: [])
    monkeypatch.setattr(fleet, "freshness_of", freshness_of)
    return seen


def test_a_fix_that_the_promoted_image_lacks_too_is_not_missing_before_the_first_failover(
    asked: list[str], tmp_path: Path
) -> None:
    settings = Settings(targets=(TARGET,), paths=PathSettings(state=tmp_path))
    observed, _ = fleet.observe_fleet(TARGET, settings, ask_archive=True)
    assert sorted(asked) == sorted([PROMOTED.id, OLD.id])
    assert missing_fixes(observed.freshness, OLD.id, PROMOTED.id) == 0


def test_no_other_image_is_asked_about(asked: list[str], tmp_path: Path) -> None:
    settings = Settings(targets=(TARGET,), paths=PathSettings(state=tmp_path))
    fleet.observe_fleet(TARGET, settings)
    assert asked == []
    fleet.observe_fleet(TARGET, settings, ask_archive=True)
    assert UNUSED.id not in asked
