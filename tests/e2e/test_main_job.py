"""The main job on real parts: signed mirror, synchroniser, Glance, build, boot."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.configuration import toml
from tests.devcloud import cloud as clouds
from tests.devcloud.mirror import Mirror
from tests.devcloud.sync import filters_for, source_of, sync
from tests.e2e.real_builds import real_builds

RETROFIT = Path(sys.executable).with_name("retrofit")
RUN_SECONDS = 3600
CONTRACT = {
    "source_product_name", "source_version_name", "retrofit_source_id", "retrofit_source_hash",
    "retrofit_source_sha256", "retrofit_source_trust",
    "retrofit_recipe", "retrofit_run_id", "retrofit_target", "retrofit_version", "os_distro",
    "os_version", "architecture", "retrofit_verified_at", "retrofit_verification",
    "haproxy_version", "amphora_agent_version", "kernel_version",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Site:
    """A cloud with a mirror and a configured retrofit."""

    devcloud: Any
    mirror: Mirror
    stock: Path
    config: Path
    logs: Path

    def publish(self, serial: str) -> None:
        """Do what Ubuntu and the synchroniser do every week."""
        self.mirror.publish(self.stock, series="noble", serial=serial, touch=True)
        sync(
            clouds.load(self.devcloud.state),
            source=source_of(self.mirror.root),
            keyring=self.mirror.keyring,
            filters=filters_for(series=["noble"]),
        )

    def retrofit(self, *words: str) -> tuple[int, Any, str]:
        """Run a command as an operator would: exit code, answer, story."""
        finished = subprocess.run(
            [RETROFIT, "--config", self.config, *words, "-o", "json"],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return finished.returncode, json.loads(finished.stdout or "null"), finished.stderr


@pytest.fixture
def site(
    devcloud: Any,
    clean_glance: None,
    stock_image: Callable[[str], Path],
    tmp_path: Path,
) -> Site:
    config = tmp_path / "retrofit.toml"
    sections = {"publish": {"keep": 2, "retire_after": 0}, "verify": {}}
    config.write_text(toml(real_builds(devcloud, tmp_path, **sections)))
    return Site(
        devcloud=devcloud,
        mirror=Mirror(root=tmp_path / "mirror"),
        stock=stock_image("noble"),
        config=config,
        logs=tmp_path / "logs",
    )


def test_a_synced_image_becomes_the_promoted_booted_amphora(site: Site, tmp_path: Path) -> None:
    site.publish("20260911")
    code, report, story = site.retrofit("run-once")
    assert (code, report["outcome"]) == (0, "published"), story
    glance = site.devcloud.glance(site.devcloud.cloud)
    tagged = list(glance.images.list(filters={"tag": ["octavia-amphora"], "status": "active"}))
    assert [image.id for image in tagged] == [report["image_id"]]
    (image,) = tagged
    assert site.devcloud.octavia_answer() == image.id  # by Octavia's own image driver
    assert image.keys() >= CONTRACT
    assert image.name == "amphora-haproxy-x86_64-ubuntu-24.04-20260911"
    assert image.retrofit_verification in {"boot-tcg", "boot-kvm"}
    assert report["verification"]["passed"]
    # What Glance gives out is what was built and verified.
    digest = hashlib.sha512()
    for chunk in glance.images.data(image.id):
        digest.update(chunk)
    assert f"sha512:{digest.hexdigest()}" == image.retrofit_image_hash
    assert image.min_disk << 30 >= image.virtual_size

    code, again, story = site.retrofit("run-once")
    assert (code, again["outcome"], again["image_id"]) == (0, "unchanged", image.id), story
    assert "disk-image-create" not in story
    assert not (Path(again["log_dir"]) / "build.log").exists()

    # A newer serial: plan says so, without doing it.
    site.publish("20260911.10")
    code, plan, story = site.retrofit("plan")
    assert (code, plan["action"]) == (0, "build"), story
    assert plan["reasons"] == ["new source version 20260911.10 (was 20260911)"]
    assert plan["promoted"] == image.id
    assert not any((tmp_path / "work" / "default").iterdir())
