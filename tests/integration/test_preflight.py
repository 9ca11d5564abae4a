"""A run asks its machine for what it will need before it fetches anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrofit.build import needs
from retrofit.produce.preflight import machine, room
from retrofit.system.memory import Memory
from tests.component import disks
from tests.integration.harness import CloudHarness


@contextmanager
def small(directory: Path, size: str = "8m") -> Iterator[None]:
    """Put a small filesystem there for the length of the block."""
    directory.mkdir(parents=True, exist_ok=True)
    disks.run("mount", "-t", "tmpfs", "-o", f"size={size}", "small", directory)
    try:
        yield
    finally:
        disks.run("umount", directory)


def refused(harness: CloudHarness, *, exit_code: int) -> str:
    """Run, see the run end in its preflight with nothing fetched, and return its error."""
    images = harness.everything()
    report = harness.retrofit("run-once", "-o", "json", exit_code=exit_code).document
    assert [step["name"] for step in report["steps"]] == ["plan", "clean-up", "preflight"]
    assert harness.everything() == images
    assert report["error"]["hint"]
    return str(report["error"]["message"])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["work", "cache", "logs", "state"])
def test_a_disk_that_is_too_small_ends_it_and_the_next_run_waits_for_nothing(
    harness: CloudHarness, name: str
) -> None:
    harness.source("20260911.1")
    with small(harness.path(name)):
        said = refused(harness, exit_code=5)
    assert f"{harness.path(name)} has " in said
    assert "MiB free, and this build needs" in said
    assert harness.retrofit("run-once", "-o", "json").document["outcome"] == "published"


def test_too_little_memory_for_the_build_or_for_the_trial_ends_it(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.source("20260911.1")
    little = Memory(total=1 << 30, available=512 << 20)
    with monkeypatch.context() as patched:
        patched.setattr(needs, "memory", lambda: little)
        assert "512 MiB of memory is available" in refused(harness, exit_code=5)
    with monkeypatch.context() as patched:
        patched.setattr(room, "memory", lambda: little)
        assert "booting the image needs 1280 MiB" in refused(harness, exit_code=6)
        harness.toml += '[verify]\nlevel = "offline"\n'
        assert harness.retrofit("run-once", "-o", "json").document["outcome"] == "published"


def test_missing_loop_devices_end_it(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.source("20260911.1")
    monkeypatch.setattr(machine, "LOOP_CONTROL", harness.directory / "loop-control")
    assert "there are no loop devices here" in refused(harness, exit_code=5)


def test_a_run_that_builds_nothing_asks_for_nothing(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.source("20260911.1")
    harness.promoted("20260911.1", days=1)
    monkeypatch.setattr(machine, "LOOP_CONTROL", harness.directory / "loop-control")
    assert harness.act("run-once")["outcome"] == "unchanged"
