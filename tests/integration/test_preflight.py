"""A run asks its machine for what it will need before it fetches anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrofit.dib import preflight as of_builds
from retrofit.memory import Memory
from retrofit.verify import preflight as of_trials
from tests.integration.stage import Stage
from tests.unit import disks


@contextmanager
def small(directory: Path, size: str = "8m") -> Iterator[None]:
    """Put a small filesystem there for the length of the block."""
    directory.mkdir(parents=True, exist_ok=True)
    disks.run("mount", "-t", "tmpfs", "-o", f"size={size}", "small", directory)
    try:
        yield
    finally:
        disks.run("umount", directory)


def refused(stage: Stage, *, exit_code: int) -> str:
    """Run, see the run end in its preflight with nothing fetched, and return its error."""
    images = stage.everything()
    report = stage.retrofit("run-once", "-o", "json", exit_code=exit_code).document
    assert [step["name"] for step in report["steps"]] == ["plan", "sweep", "preflight"]
    assert stage.everything() == images
    assert report["error"]["hint"]
    return str(report["error"]["message"])


@pytest.mark.parametrize("name", ["work", "cache", "logs", "state"])
def test_a_disk_that_is_too_small_ends_it_and_the_next_run_waits_for_nothing(
    stage: Stage, name: str
) -> None:
    stage.source("20260911.1")
    with small(stage.path(name)):
        said = refused(stage, exit_code=5)
    assert f"{stage.path(name)} has " in said
    assert "MiB free, and this build needs" in said
    assert stage.retrofit("run-once", "-o", "json").document["outcome"] == "published"


def test_too_little_memory_for_the_build_or_for_the_trial_ends_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.source("20260911.1")
    little = Memory(total=1 << 30, available=512 << 20)
    with monkeypatch.context() as patched:
        patched.setattr(of_builds, "memory", lambda: little)
        assert "512 MiB of memory is available" in refused(stage, exit_code=5)
    with monkeypatch.context() as patched:
        patched.setattr(of_trials, "memory", lambda: little)
        assert "the image's trial needs 1280 MiB" in refused(stage, exit_code=6)
        stage.toml += '[verify]\nlevel = "offline"\n'
        assert stage.retrofit("run-once", "-o", "json").document["outcome"] == "published"


def test_missing_loop_devices_end_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.source("20260911.1")
    monkeypatch.setattr(of_builds, "LOOP_CONTROL", stage.directory / "loop-control")
    assert "there are no loop devices here" in refused(stage, exit_code=5)


def test_a_run_that_builds_nothing_asks_for_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.source("20260911.1")
    stage.promoted("20260911.1", days=1)
    monkeypatch.setattr(of_builds, "LOOP_CONTROL", stage.directory / "loop-control")
    assert stage.act("run-once")["outcome"] == "unchanged"
