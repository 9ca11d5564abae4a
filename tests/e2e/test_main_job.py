"""The main job on real parts: signed mirror, synchroniser, Glance, build, boot."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from retrofit.build.recipe import recipe_for
from tests.configuration import toml
from tests.devcloud import cloud as clouds
from tests.devcloud.mirror import Mirror
from tests.devcloud.sync import filters_for, source_of, sync
from tests.e2e.amphora_images import build_settings, cached_image
from tests.e2e.command import given
from tests.e2e.real_builds import real_builds

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
        return given(self.config, *words)


@pytest.fixture
def site(
    devcloud: Any,
    clean_glance: None,
    stock_image: Callable[[str], Path],
    tmp_path: Path,
) -> Site:
    config = tmp_path / "retrofit.toml"
    sections: dict[str, dict[str, Any]] = {
        "publish": {"keep": 2, "retire_after": 0},
        "verify": {"level": "full"},
    }
    config.write_text(toml(real_builds(devcloud, tmp_path, **sections)))
    return Site(
        devcloud=devcloud,
        mirror=Mirror(root=tmp_path / "mirror"),
        stock=stock_image("noble"),
        config=config,
        logs=tmp_path / "logs",
    )


@contextmanager
def its_image_for_other_tests(machine: Path) -> Iterator[None]:
    """Put the image that a run builds into the cache as soon as it is whole: one build for all.

    It is whole when its boot begins. Tests that want such an image wait until then.
    """
    over = threading.Event()

    def watch() -> None:
        with cached_image("distro", "noble") as image:
            held.set()
            while not image.exists() and not over.wait(0.5):
                built = list((machine / "work").glob("default/*/build/amphora.qcow2"))
                if built and any((machine / "logs").glob("**/console*.log")):
                    partial = image.with_suffix(".partial")
                    # Gone at this moment, where the run ends: the next look is the last.
                    with suppress(FileNotFoundError):
                        shutil.copyfile(built[0], partial)
                        partial.rename(image)

    held = threading.Event()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_synced_image_becomes_the_promoted_booted_amphora(site: Site, tmp_path: Path) -> None:
    site.publish("20260911")
    with its_image_for_other_tests(tmp_path):
        code, report, story = site.retrofit("run-once")
    assert (code, report["outcome"]) == (0, "published"), story
    glance = site.devcloud.glance(site.devcloud.cloud)
    tagged = list(glance.images.list(filters={"tag": ["octavia-amphora"], "status": "active"}))
    assert [image.id for image in tagged] == [report["image_id"]]
    (image,) = tagged
    assert site.devcloud.octavia_answer() == image.id  # by Octavia's own image driver
    assert image.keys() >= CONTRACT
    assert image.name.startswith("amphora-haproxy-x86_64-ubuntu-24.04-20260911-20")
    assert image.retrofit_verification in {"full-tcg", "full-kvm"}
    assert report["verification"]["passed"]
    assert image.retrofit_recipe == recipe_for(build_settings("distro")).digest
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
