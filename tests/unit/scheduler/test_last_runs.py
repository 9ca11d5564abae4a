"""What counts as a run that was had."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import PathSettings, Settings, Target
from scheduler.last_runs import last_runs

NINE, TEN = (datetime(2026, 11, 18, hour, tzinfo=UTC) for hour in (9, 10))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        targets=(Target(name="one"), Target(name="two")), paths=PathSettings(logs=tmp_path)
    )


def ran(settings: Settings, begun: datetime, target: str | None, **more: Any) -> None:
    """Leave the log directory of a run; without a target, that of one that died."""
    name = f"{begun:%Y%m%dT%H%M%SZ}-{(target or 'dead').encode().hex():0<6.6}"
    directory = settings.paths.logs / name
    directory.mkdir()
    if target is not None:
        told = {"run_id": name, "target": target, "outcome": "published"}
        report = {**told, "started_at": begun.isoformat(), **more}
        (directory / "report.json").write_text(json.dumps(report))


def test_the_last_run_of_each_target_counts(settings: Settings) -> None:
    ran(settings, NINE, "one")
    ran(settings, TEN, "one", outcome="failed", error={"code": "build"})
    ran(settings, NINE, "two", outcome="unchanged")
    assert last_runs(settings) == {"one": TEN, "two": NINE}


def test_nothing_is_known_without_reports(settings: Settings) -> None:
    assert last_runs(settings) == {}


def test_an_interrupted_run_was_none(settings: Settings) -> None:
    ran(settings, NINE, "one")
    ran(settings, TEN, "one", error={"code": "interrupted"})
    assert last_runs(settings) == {}


def test_a_run_that_died_may_have_been_anybodys(settings: Settings) -> None:
    ran(settings, NINE, "one")
    ran(settings, NINE, "two")
    ran(settings, TEN, None)
    assert last_runs(settings) == {}


def test_a_run_that_died_is_made_up_for_by_a_later_one(settings: Settings) -> None:
    ran(settings, NINE, None)
    ran(settings, TEN, "one")
    assert last_runs(settings) == {"one": TEN}


def test_what_was_done_by_hand_is_no_run(settings: Settings) -> None:
    ran(settings, NINE, "one")
    ran(settings, TEN, "one", action="rollback")
    assert last_runs(settings) == {"one": NINE}


@pytest.mark.parametrize("begun", ["soon", None, 7])
def test_a_report_that_says_nothing_counts_as_none(settings: Settings, begun: Any) -> None:
    ran(settings, NINE, "one", started_at=begun)
    assert last_runs(settings) == {}
