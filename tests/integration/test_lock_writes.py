"""A run that lost its lock, in the middle of what it writes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retrofit.cloud import Glance
from tests.devcloud import lock_servers
from tests.devcloud.lock_servers import LockServer
from tests.integration.harness import TAG, CloudHarness

WRITES = ("create", "upload", "tag", "untag", "update", "delete")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[LockServer]:
    (tmp_path / "redis").mkdir()
    with lock_servers.redis(tmp_path / "redis") as server:
        yield server


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "step",
    [
        "upload",
        "tag",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("create", "untag")),
    ],
)
def test_a_run_whose_lock_is_broken_writes_no_more_and_the_next_heals(
    harness: CloudHarness,
    redis: LockServer,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness.toml += f'[lock]\nurl = "{redis.url()}"\nlease = 30\n'
    for version in ("20260909", "20260910"):
        harness.source(version)
        assert harness.run().outcome == "published"
    harness.source("20260911")
    written: list[str] = []

    def recording(name: str) -> Callable[..., Any]:
        original = getattr(Glance, name)

        def write(self: Glance, *args: Any, **kwargs: Any) -> Any:
            done = original(self, *args, **kwargs)
            written.append(name)
            if name == step:
                subprocess.run(["redis-cli", "-p", str(redis.port), "flushall"], check=True)
            return done

        return write

    with monkeypatch.context() as patched:
        for name in WRITES:
            patched.setattr(Glance, name, recording(name))
        report = harness.run()
    assert (report.outcome, report.exit_code) == ("failed", 75)
    assert report.error is not None
    assert (report.error.code, bool(report.error.hint)) == ("lock-lost", True)
    assert written[-1] == step  # nothing after it, not even to clean up
    assert harness.octavia() is not None
    assert harness.run().outcome in {"published", "unchanged"}
    images = harness.amphorae()
    assert {image.status for image in images} == {"active"}
    (promoted,) = (image for image in images if TAG in image.tags)
    assert promoted.property("source_version_name") == "20260911"
    assert len(images) == 2
