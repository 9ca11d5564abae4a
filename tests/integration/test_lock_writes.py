"""A run that lost its lock, in the middle of what it writes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retrofit.cloud import Glance
from retrofit.config import CloudSettings, LockSettings, PathSettings, PublishSettings, Settings
from retrofit.config import Target as TargetSettings
from retrofit.pipeline import run_once
from retrofit.report import RunReport
from tests.devcloud import lock_servers
from tests.devcloud.lock_servers import LockServer
from tests.integration.workshop import Workshop

TAG = "octavia-amphora"
WRITES = ("create", "upload", "tag", "untag", "update", "delete")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[LockServer]:
    (tmp_path / "redis").mkdir()
    with lock_servers.redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def run(
    devcloud: Any, clean_glance: None, redis: LockServer, tiny_image: Any, tmp_path: Path
) -> Callable[[], RunReport]:
    target = TargetSettings(
        cloud=CloudSettings(name=devcloud.cloud, clouds_yaml=devcloud.clouds_yaml),
        publish=PublishSettings(keep=2, retire_after=0, retire_unasked_after=0),
    )
    paths = {key: tmp_path / key for key in ("state", "cache", "work", "logs")}
    lock = LockSettings(url=redis.url(), lease=30)
    settings = Settings(targets=(target,), paths=PathSettings(**paths), lock=lock)
    workshop = Workshop(tiny_image)
    return lambda: run_once(target, settings, build=workshop.build, verify=workshop.verify)


@pytest.mark.parametrize(
    "step",
    [
        "upload",
        "tag",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("create", "untag")),
    ],
)
def test_a_run_whose_lock_is_broken_writes_no_more_and_the_next_heals(
    run: Any,
    publish: Any,
    redis: LockServer,
    devcloud: Any,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for version in ("20260909", "20260910"):
        publish(version)
        assert run().outcome == "published"
    publish("20260911")
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
        report = run()
    assert (report.outcome, report.exit_code) == ("failed", 75)
    assert report.error is not None
    assert (report.error.code, bool(report.error.hint)) == ("lock-lost", True)
    assert written[-1] == step  # nothing after it, not even to clean up
    glance = Glance.connect(CloudSettings(name=devcloud.cloud, clouds_yaml=devcloud.clouds_yaml))
    assert glance.octavia_takes(TAG) is not None
    assert run().outcome in {"published", "unchanged"}
    images = glance.list({"retrofit_target": "default"})
    assert {image.status for image in images} == {"active"}
    (promoted,) = (image for image in images if TAG in image.tags)
    assert promoted.property("source_version_name") == "20260911"
    assert len(images) == 2
