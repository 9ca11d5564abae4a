"""A security fix in the archive that the source image names becomes a promoted image."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.configuration import toml
from tests.devcloud import cloud as clouds
from tests.devcloud import package_archive
from tests.devcloud.mirror import Mirror
from tests.devcloud.sync import filters_for, source_of, sync
from tests.e2e.command import given
from tests.e2e.real_builds import real_builds

CHECKS = 20


@dataclass(frozen=True, kw_only=True)
class Site:
    """A cloud whose source image names an archive of its own, and machines of one installation."""

    devcloud: Any
    archive: Path
    directory: Path

    def retrofit(self, *words: str, machine: str = "a") -> Any:
        """Run a command as an operator would, and return its answer."""
        config = self.directory / f"{machine}.toml"
        if not config.exists():
            paths = {key: self.directory / machine / key for key in ("state", "work", "logs")}
            # The last thing that differs from the defaults is what takes longest.
            sections = {
                "verify": {"level": "offline"},
                "paths": {**paths, "cache": self.directory / machine / "cache"},
            }
            config.write_text(toml(real_builds(self.devcloud, self.directory, **sections)))
        code, found, story = given(config, *words)
        assert code == 0, story
        return found

    def freshness(self, machine: str = "a") -> Any:
        """What a machine finds to be newer than in the promoted image."""
        return self.retrofit("plan", machine=machine)["freshness"]


def offered(freshness: Any) -> list[tuple[str, str]]:
    """Security fixes by package and version: since when is what each machine knows."""
    return [(fix["package"], fix["candidate"]) for fix in freshness["security"]]


@pytest.fixture
def site(
    devcloud: Any, clean_glance: None, stock_image: Callable[[str], Path], tmp_path: Path
) -> Iterator[Site]:
    archive, source = tmp_path / "archive", tmp_path / "source.qcow2"
    shutil.copyfile(stock_image("noble"), source)
    try:
        package_archive.plant(package_archive.make(archive), source)
        mirror = Mirror(root=tmp_path / "mirror")
        mirror.publish(source, series="noble", serial="20260911")
        sync(
            clouds.load(devcloud.state),
            source=source_of(mirror.root),
            keyring=mirror.keyring,
            filters=filters_for(series=["noble"]),
        )
        yield Site(devcloud=devcloud, archive=archive, directory=tmp_path)
    finally:
        package_archive.stop(archive)


@pytest.mark.slow
def test_a_fix_in_the_archive_becomes_the_promoted_image(site: Site) -> None:
    first = site.retrofit("run-once")
    assert first["outcome"] == "published"
    fresh = site.freshness()
    assert (fresh["security"], fresh["other"], fresh["unknown"]) == ([], [], None)

    # A fix of an installed package; nothing of the source image changes.
    (package,) = (site.directory / "a/cache/packages").glob("*/haproxy_*.deb")
    fixed = package_archive.publish_fix(site.archive, package)
    plan = site.retrofit("plan")
    assert plan["action"] == "build"
    assert plan["reasons"] == [
        f"1 security update: haproxy {fixed.version.removesuffix('+fix1')} -> {fixed.version}"
    ]
    # Another machine, without any cache, finds the same.
    assert offered(site.freshness(machine="b")) == offered(plan["freshness"])

    # So it does where the evidence is lost, from the image itself: a run reads it.
    evidence = site.devcloud.glance(site.devcloud.cloud).images
    (record,) = (each for each in site.devcloud.records() if "retrofit_evidence_of" in each)
    assert (record["os_hidden"], record["tags"]) == (True, [])
    evidence.delete(record["id"])
    assert "not in Glance" in site.freshness(machine="c")["unknown"]

    second = site.retrofit("run-once", machine="c")
    assert (second["outcome"], second["reasons"]) == ("published", plan["reasons"])
    assert second["source"] == first["source"]
    (changed,) = (each for each in second["packages"] if each["package"] == "haproxy")
    assert (changed["before"], changed["after"]) == (
        fixed.version.removesuffix("+fix1"),
        fixed.version,
    )
    promoted = {each["id"]: each for each in site.devcloud.images()}[second["image_id"]]
    (named,) = (
        each
        for each in site.devcloud.records()
        if each.get("retrofit_evidence_of") == promoted["id"]
    )
    assert promoted["retrofit_evidence_id"] == named["id"]

    # The build brought what was offered, and nothing is built again, however often it is asked.
    for _ in range(CHECKS):
        again = site.retrofit("run-once")
        assert again["outcome"] == "unchanged", again
    fresh = site.freshness()
    assert (fresh["security"], fresh["unknown"]) == ([], None)

    # An archive that is away is a warning.
    package_archive.stop(site.archive)
    assert site.freshness()["unknown"]
    assert site.retrofit("run-once")["outcome"] == "unchanged"
