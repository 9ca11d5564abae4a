"""Whole runs whose source comes from a mirror, or is vouched for by one."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrofit.cloud import Glance
from retrofit.config import CloudSettings, PathSettings, PublishSettings, Settings, Target
from retrofit.model import Image
from retrofit.overview import ask
from retrofit.pipeline import run_once
from retrofit.render import plan_as_dict
from retrofit.report import RunReport
from retrofit.streams import Mirror as Reader
from retrofit.survey import survey
from tests.devcloud import faults
from tests.devcloud.faults import FaultyServer, serving
from tests.devcloud.files import make_tiny
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.mirror import Mirror
from tests.devcloud.sync import filters_for
from tests.integration.workshop import Workshop

TAG = "octavia-amphora"
PRODUCT = "com.ubuntu.cloud:server:24.04:amd64"
OF_ONE_RUN = {
    "retrofit_run_id", "retrofit_target", "retrofit_source_id", "retrofit_verified_at",
    "retrofit_promoted_at",
}  # fmt: skip


@pytest.fixture
def tree(mirror: Callable[..., Mirror], tmp_path: Path) -> Mirror:
    """A mirror with one version of noble."""
    made = mirror("mirror")
    made.publish(make_tiny(tmp_path / "stock.qcow2"), series="noble", serial="20260911")
    return made


@pytest.fixture
def server(tree: Mirror) -> Iterator[FaultyServer]:
    with serving(tree.root) as running:
        yield running


class Site:
    """A cloud, a mirror, and runs with settings that name both."""

    def __init__(self, cloud: Devcloud, tree: Mirror, server: FaultyServer, home: Path) -> None:
        self.cloud, self.tree, self.server, self.home = cloud, tree, server, home
        self.workshop = Workshop(lambda path: make_tiny(path, mark="amphora"))
        self.target = self.with_settings()
        self.glance = Glance.connect(self.target.cloud)

    def with_settings(self, name: str = "default", **sections: Any) -> Target:
        mirror = {"url": self.server.url, "keyring": self.tree.keyring, "timeout": 5, "retries": 1}
        return Target(
            name=name,
            cloud=CloudSettings(name=self.cloud.cloud, clouds_yaml=self.cloud.clouds_yaml),
            publish=PublishSettings(keep=2, retire_after=0),
            source={"series": ["noble"], **sections.get("source", {})},
            mirror={**mirror, **sections.get("mirror", {})},
            octavia={"ask": "never"},
        )

    def from_mirror(self, name: str = "default", **mirror: Any) -> Target:
        return self.with_settings(name, source={"origin": "simplestreams"}, mirror=mirror)

    @property
    def settings(self) -> Settings:
        paths = {each: self.home / each for each in ("state", "cache", "work", "logs")}
        return Settings(targets=(self.target,), paths=PathSettings(**paths))

    def run(self, target: Target | None = None) -> RunReport:
        """Run once, without waiting for what failed before."""
        shutil.rmtree(self.home / "state", ignore_errors=True)
        return run_once(
            target or self.target,
            self.settings,
            build=self.workshop.build,
            verify=self.workshop.verify,
        )

    def plan(self, target: Target | None = None) -> dict[str, Any]:
        target = target or self.target
        return plan_as_dict(survey(target, self.settings, self.glance, recipe="sha256:recipe"))

    def amphorae(self, target: str = "default") -> list[Image]:
        return self.glance.list({"retrofit_target": target})

    def promoted(self) -> str | None:
        taken = self.glance.octavia_takes(TAG)
        return None if taken is None else taken.id

    def refused(self, target: Target | None = None) -> str:
        """See that a run is refused, changes nothing and leaves nothing; return why."""
        before, built = self.promoted(), len(self.workshop.built)
        images = {image.id for image in self.amphorae()}
        report = self.run(target)
        assert (report.outcome, report.exit_code) == ("failed", 4)
        assert report.error is not None
        assert report.error.hint
        assert (self.promoted(), len(self.workshop.built)) == (before, built)
        assert {image.id for image in self.amphorae()} == images
        assert not any((self.home / "work" / "default").iterdir())
        kept = (self.home / "cache").glob("sources/[0-9a-f]*")
        assert not [path for path in kept if not path.name.endswith((".part", ".from"))]
        return report.error.message

    def publish(self, serial: str) -> None:
        self.tree.publish(self.home / "stock.qcow2", series="noble", serial=serial, touch=True)


@pytest.fixture
def site(clean_glance: Devcloud, tree: Mirror, server: FaultyServer, tmp_path: Path) -> Site:
    return Site(clean_glance, tree, server, tmp_path)


def test_a_mirror_alone_gives_what_the_synchronised_image_gives(site: Site) -> None:
    from_mirror, from_glance = site.from_mirror("mirror"), site.with_settings("glance")
    plans, images = [], []
    for target in (from_mirror, from_glance):
        if target is from_glance:
            site.cloud.sync(site.tree)
        plans.append(site.plan(target))
        report = site.run(target)
        assert (report.outcome, report.error, report.trust) == ("published", None, "signed")
        (image,) = site.amphorae(target.name)
        images.append(image)
    of_mirror, of_glance = (
        {name: value for name, value in image.properties.items() if name not in OF_ONE_RUN}
        for image in images
    )
    assert of_mirror == of_glance
    assert images[0].name == images[1].name
    assert images[0].properties["retrofit_source_id"].startswith(site.server.url)
    for plan in plans:
        for of_the_origin in ("target", "wanted", "rejected"):
            plan.pop(of_the_origin)
        plan["source"].pop("id")
        plan["trust"].pop("note")
        plan["notes"] = [note for note in plan["notes"] if TAG not in note]
    assert plans[0] == plans[1]
    assert plans[0]["source"] == {"product": PRODUCT, "version": "20260911"}


def test_the_origin_of_the_same_bytes_may_change_without_a_build(site: Site) -> None:
    assert site.run(site.from_mirror()).outcome == "published"
    site.cloud.sync(site.tree)
    assert site.run().outcome == "unchanged"
    assert site.run(site.from_mirror()).outcome == "unchanged"
    assert len(site.workshop.built) == 1


def test_the_stock_image_is_published_as_well_and_rotated(site: Site) -> None:
    target = site.with_settings(source={"origin": "simplestreams", "publish_stock": True})
    for serial in ("20260911", "20260918", "20260925"):
        site.publish(serial)
        assert site.run(target).outcome == "published"
    published = {image.property("version_name"): image for image in stock_images(site)}
    assert set(published) == {"20260918", "20260925"}
    stock = published["20260925"]
    site.cloud.sync(site.tree)
    synced = next(
        image
        for image in site.glance.list({"content_id": "auto.sync"})
        if image.property("version_name") == "20260925"
    )
    assert stock.name == synced.name.removeprefix("auto-sync/")
    assert (stock.disk_format, stock.hash_value) == (synced.disk_format, synced.hash_value)
    assert set(synced.properties) - set(stock.properties) == {"content_id"}
    assert set(stock.properties) - set(synced.properties) == {"retrofit_stock"}
    assert all(stock.properties[name] == synced.properties[name] for name in OF_STOCK)
    site.publish("20261002")
    site.cloud.sync(site.tree, most=1)
    assert set(published) == {image.property("version_name") for image in stock_images(site)}
    assert site.run(target).outcome == "published"
    assert len(stock_images(site)) == 2


OF_STOCK = (
    "product_name", "version_name", "item_name", "os_distro", "os_version", "architecture",
    "simplestreams_metadata", "source_content_id",
)  # fmt: skip


def stock_images(site: Site) -> list[Image]:
    return site.glance.list({"retrofit_stock": "default"})


def test_whatever_a_mirror_does_wrong_the_promoted_image_stays(site: Site, tmp_path: Path) -> None:
    target = site.from_mirror(timeout=1)
    standing = site.run(target).image_id
    assert standing is not None
    site.publish("20260918")
    shutil.rmtree(tmp_path / "cache")
    stranger = Mirror(root=tmp_path / "stranger")
    stranger.publish(make_tiny(tmp_path / "x.qcow2"), series="noble", serial="20260930")
    assert "is signed by key" in site.refused(site.from_mirror(keyring=stranger.keyring))
    for pattern, fault, said in (
        ("*/index.sjson", faults.status(404), "has no signed index"),
        ("*/index.sjson", faults.short, "is not over its content"),
        ("*download.sjson", faults.instead(b'{"format": "products:1.0"}'), "is not signed"),
        ("*download.sjson", faults.status(503, retry_after="3600"), "503"),
        ("*.img", faults.status(404), "404"),
        ("*.img", faults.corrupted, "are not those that the index lists"),
        ("*.img", faults.instead(b"swapped"), "the index says"),
        ("*.img", faults.short, "the index says"),
        ("*.img", faults.cut, "bytes"),
        ("*.img", faults.stall(20), "no data for 1 seconds"),
        ("*.img", faults.redirect("/again.img"), "leads from one address to the next"),
    ):
        site.server.add(pattern, fault)
        assert said in site.refused(target)
        site.server.rules.clear()
    assert site.promoted() == standing
    assert site.run(target).outcome == "published"


def plant(site: Site, image: Path, version: str, metadata: dict[str, Any]) -> str:
    """Put an image into Glance that says all that the synchroniser says of its own."""
    return site.cloud.plant(
        image,
        product_name=PRODUCT,
        version_name=version,
        item_name="disk1.img",
        os_distro="ubuntu",
        os_version="24.04",
        architecture="x86_64",
        content_id="auto.sync",
        simplestreams_metadata=json.dumps(metadata),
    )


def test_a_planted_image_is_refused_as_far_as_trust_is_asked_for(
    site: Site, tmp_path: Path
) -> None:
    site.cloud.sync(site.tree)
    assert site.run().outcome == "published"
    site.publish("20260918")
    metadata = metadata_of(site, "20260918")
    planted = make_tiny(tmp_path / "planted.qcow2", mark="planted")
    plant(site, planted, "20260918", metadata)
    for trust in ("digest", "signed", "auto"):
        said = site.refused(site.with_settings(source={"trust": trust}))
        assert "are not those of" in said
    site.cloud.glance().images.delete(newest_source(site))
    forged = {**metadata, **digests(planted)}
    plant(site, planted, "20260918", forged)
    said = site.refused(site.with_settings(source={"trust": "signed"}))
    assert "in the signed index of" in said
    assert site.plan(site.with_settings(source={"trust": "digest"}))["action"] == "build"


def test_what_glance_says_of_an_image_is_not_believed_where_bytes_are_at_hand(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every early comparison out of the way, the download itself is what is checked."""
    site.cloud.sync(site.tree)
    original = Glance.list

    def without_digests(self: Glance, *asked: Any, **options: Any) -> list[Image]:
        return [replace(image, checksum=None) for image in original(self, *asked, **options)]

    monkeypatch.setattr(Glance, "list", without_digests)
    (source,) = site.cloud.images()
    site.cloud.glance("demo-sync").images.update(
        source["id"],
        simplestreams_metadata=source["simplestreams_metadata"]
        .replace('"md5"', '"md0"')
        .replace(json.loads(source["simplestreams_metadata"])["sha256"], "0" * 64),
    )
    said = site.refused(site.with_settings(source={"trust": "digest"}))
    assert f"expected {'0' * 64}" in said
    assert site.run(site.with_settings(source={"trust": "signed"})).outcome == "published"


def metadata_of(site: Site, version: str) -> dict[str, Any]:
    """What the synchroniser would put down with the image of a version."""
    listing = Reader(site.target.mirror, site.home / "cache").listing()
    (item,) = (each for each in listing.items if each.version == version)
    return dict(item.metadata)


def newest_source(site: Site) -> str:
    (found,) = (
        image["id"]
        for image in site.cloud.images()
        if image.get("product_name") == PRODUCT and image["version_name"] == "20260918"
    )
    return str(found)


def digests(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": str(len(data)),
    }


def test_a_stalled_synchroniser_is_said_by_plan_and_status(site: Site) -> None:
    site.cloud.sync(site.tree)
    site.publish("20260918")
    said = site.plan()["notes"]
    assert any("the mirror has 20260918" in note and "days old" in note for note in said)
    facts = ask(site.target, site.settings, fleet=False)
    assert facts.status is not None
    warnings = facts.status["warnings"]
    assert any("is the synchroniser running?" in warning for warning in warnings)
    site.cloud.sync(site.tree)
    assert not any("synchroniser" in note for note in site.plan()["notes"])


def test_a_mirror_out_of_reach_stops_no_run_that_has_nothing_to_build(site: Site) -> None:
    site.cloud.sync(site.tree)
    assert site.run().outcome == "published"
    site.server.add("*", faults.status(500))
    report = site.run()
    assert (report.outcome, report.exit_code) == ("unchanged", 0)
    assert any("the mirror cannot be compared with Glance" in note for note in report.notes)
    site.server.rules.clear()
    site.publish("20260918")
    site.cloud.sync(site.tree)
    site.server.add("*", faults.status(500))
    assert 'cannot be trusted as "signed"' in site.refused()


def test_an_item_that_vanishes_is_chosen_once_more(site: Site) -> None:
    site.publish("20260918")

    def withdraw(handler: Any, _good: bytes) -> None:
        site.tree.withdraw(series="noble", serial="20260918")
        handler.reply(404)

    site.server.add("*20260918*.img", withdraw, times=1)
    report = site.run(site.from_mirror())
    assert report.outcome == "published"
    assert report.source is not None
    assert report.source.version == "20260911"
    assert any("chosen once more" in note for note in report.notes)


def test_the_synchroniser_and_we_choose_the_same(site: Site, tmp_path: Path) -> None:
    stock = tmp_path / "stock.qcow2"
    for name, serial, kind, arch in (
        ("noble", "20260911.9", "released", "amd64"),
        ("noble", "20260911.10", "released", "amd64"),
        ("noble", "20260930", "released", "arm64"),
        ("noble", "20260912", "daily", "amd64"),
        ("jammy", "20260915", "released", "amd64"),
    ):
        site.tree.publish(stock, series=name, serial=serial, stream=kind, arch=arch, touch=True)
    site.cloud.sync(site.tree, filters=filters_for(series=["noble", "jammy"]))
    for rules, version in (
        ({"series": ["noble", "jammy"]}, "20260912"),
        ({"series": ["noble"], "stream": "released"}, "20260911.10"),
        ({"series": ["jammy", "noble"]}, "20260915"),
    ):
        here = site.plan(site.with_settings(source=rules))
        there = site.plan(site.with_settings(source={**rules, "origin": "simplestreams"}))
        assert here["source"]["version"] == there["source"]["version"] == version
        assert here["source"]["product"] == there["source"]["product"]
        chosen = site.glance.get(here["source"]["id"])
        assert chosen is not None
        assert chosen.property("item_name") == "disk1.img"
        assert there["source"]["id"].endswith("-server-cloudimg-amd64.img")
        assert here["trust"]["level"] == there["trust"]["level"] == "signed"


def test_the_command_line_says_why_and_ends_with_4(site: Site, tmp_path: Path) -> None:
    stranger = Mirror(root=tmp_path / "stranger")
    stranger.publish(make_tiny(tmp_path / "x.qcow2"), series="noble", serial="20260930")
    config = tmp_path / "retrofit.toml"
    config.write_text(
        f"""
        [cloud]
        name = "{site.cloud.cloud}"
        clouds_yaml = "{site.cloud.clouds_yaml}"
        [source]
        origin = "simplestreams"
        [mirror]
        url = "{site.server.url}"
        keyring = "{stranger.keyring}"
        [paths]
        """
        + "".join(f'{each} = "{tmp_path / each}"\n' for each in ("state", "cache", "work", "logs"))
    )
    done = subprocess.run(
        [sys.executable, "-m", "retrofit", "--config", config, "run-once"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 4
    assert "is signed by key" in done.stdout
    assert site.glance.list({"tag": [TAG]}) == []
