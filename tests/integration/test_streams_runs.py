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
from retrofit.config import CloudSettings, PublishSettings, Target
from retrofit.model import Image
from retrofit.observe.target import observe_target
from retrofit.plan import plan
from retrofit.plan.document import plan_as_dict
from retrofit.runs.report import RunReport
from retrofit.simplestreams import Mirror as Reader
from retrofit.status.cloud import ask
from tests.devcloud import faults
from tests.devcloud.faults import FaultyServer, serving
from tests.devcloud.files import make_tiny
from tests.devcloud.mirror import Mirror
from tests.devcloud.sync import filters_for
from tests.integration.harness import PRODUCT, TAG, CloudHarness

OF_ONE_RUN = {
    "retrofit_run_id", "retrofit_target", "retrofit_source_id", "retrofit_verified_at",
    "retrofit_promoted_at", "retrofit_read_at", "retrofit_image_id", "retrofit_installation",
    "retrofit_tag", "retrofit_state_id", "retrofit_promoted_by",
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
    """The harness, a mirror, and runs with settings that name both."""

    def __init__(self, harness: CloudHarness, tree: Mirror, server: FaultyServer) -> None:
        self.harness, self.tree, self.server = harness, tree, server
        self.cloud, self.settings = harness.site, harness.settings
        self.fake_builder = harness.fake_builder
        self.fake_builder.make_image = lambda path: make_tiny(path, mark="amphora")
        self.target = self.with_settings()

    def with_settings(self, name: str = "default", **sections: Any) -> Target:
        mirror = {"url": self.server.url, "keyring": self.tree.keyring, "timeout": 5, "retries": 1}
        return Target(
            name=name,
            cloud=CloudSettings(**self.harness.cloud),
            publish=PublishSettings(keep=2, retire_after=0),
            source={"series": ["noble"], **sections.get("source", {})},
            mirror={**mirror, **sections.get("mirror", {})},
            octavia={"query": "never"},
        )

    def from_mirror(self, name: str = "default", **mirror: Any) -> Target:
        return self.with_settings(name, source={"origin": "simplestreams"}, mirror=mirror)

    def run(self, target: Target | None = None) -> RunReport:
        """Run once, without waiting for what failed before."""
        shutil.rmtree(self.settings.paths.state, ignore_errors=True)
        return self.harness.run(target or self.target)

    def plan(self, target: Target | None = None) -> dict[str, Any]:
        target = target or self.target
        glance = self.harness.glance
        facts = observe_target(target, self.settings, glance, recipe="sha256:recipe")
        return plan_as_dict(plan(facts, target))

    def refused(self, target: Target | None = None) -> str:
        """See that a run is refused, changes nothing and leaves nothing; return why."""
        before, built = self.harness.octavia(), len(self.fake_builder.built)
        images = {image.id for image in self.harness.amphorae()}
        report = self.run(target)
        assert (report.outcome, report.exit_code) == ("failed", 4)
        assert report.error is not None
        assert report.error.hint
        assert (self.harness.octavia(), len(self.fake_builder.built)) == (before, built)
        assert {image.id for image in self.harness.amphorae()} == images
        assert self.harness.nothing_left()
        kept = self.settings.paths.cache.glob("sources/[0-9a-f]*")
        assert not [path for path in kept if not path.name.endswith((".part", ".from"))]
        return report.error.message

    def publish(self, serial: str) -> None:
        self.tree.publish(
            self.harness.directory / "stock.qcow2", series="noble", serial=serial, touch=True
        )


@pytest.fixture
def site(harness: CloudHarness, tree: Mirror, server: FaultyServer) -> Site:
    return Site(harness, tree, server)


def test_a_mirror_alone_gives_what_the_synchronised_image_gives(site: Site) -> None:
    from_mirror, from_glance = site.from_mirror("mirror"), site.with_settings("glance")
    plans, images = [], []
    for target in (from_mirror, from_glance):
        if target is from_glance:
            site.cloud.sync(site.tree)
        plans.append(site.plan(target))
        report = site.run(target)
        assert (report.outcome, report.error, report.trust) == ("published", None, "signed")
        (image,) = site.harness.amphorae(target.name)
        images.append(image)
    of_mirror, of_glance = (
        {name: value for name, value in image.properties.items() if name not in OF_ONE_RUN}
        for image in images
    )
    assert of_mirror == of_glance
    named = [image.name.rpartition("-")[0] for image in images]
    assert named[0] == named[1]
    assert images[0].properties["retrofit_source_id"].startswith(site.server.url)
    for planned in plans:
        for of_the_origin in ("target", "wanted", "rejected"):
            planned.pop(of_the_origin)
        planned["source"].pop("id")
        planned["trust"].pop("note")
        planned["notes"] = [note for note in planned["notes"] if TAG not in note]
    # The second sees the image of the first, which has the same tag, and notes it.
    assert {**plans[0], "notes": []} == {**plans[1], "notes": []}
    assert plans[0]["source"] == {"product": PRODUCT, "version": "20260911"}


@pytest.mark.slow
def test_the_origin_of_the_same_bytes_may_change_without_a_build(site: Site) -> None:
    assert site.run(site.from_mirror()).outcome == "published"
    site.cloud.sync(site.tree)
    assert site.run().outcome == "unchanged"
    assert site.run(site.from_mirror()).outcome == "unchanged"
    assert len(site.fake_builder.built) == 1


@pytest.mark.slow
def test_whatever_a_mirror_does_wrong_the_promoted_image_stays(site: Site, tmp_path: Path) -> None:
    target = site.from_mirror(timeout=1)
    standing = site.run(target).image_id
    assert standing is not None
    site.publish("20260918")
    shutil.rmtree(site.settings.paths.cache)
    stranger = Mirror(root=tmp_path / "stranger")
    stranger.publish(make_tiny(tmp_path / "x.qcow2"), series="noble", serial="20260930")
    assert "is signed by key" in site.refused(site.from_mirror(keyring=stranger.keyring))
    for pattern, fault, said in (
        ("*/index.sjson", faults.status(404), "has no signed index"),
        ("*/index.sjson", faults.short, "does not match its content"),
        ("*download.sjson", faults.instead(b'{"format": "products:1.0"}'), "is not signed"),
        ("*download.sjson", faults.status(503, retry_after="3600"), "503"),
        ("*.img", faults.status(404), "404"),
        ("*.img", faults.corrupted, "does not have the digest that the index lists"),
        ("*.img", faults.instead(b"swapped"), "the index lists"),
        ("*.img", faults.short, "the index lists"),
        ("*.img", faults.cut, "bytes"),
        ("*.img", faults.stall(20), "no data for 1 seconds"),
        ("*.img", faults.redirect("/again.img"), "redirects more than 5 times"),
    ):
        site.server.add(pattern, fault)
        assert said in site.refused(target)
        site.server.rules.clear()
    assert site.harness.octavia() == standing
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


def test_a_planted_image_is_passed_over_as_far_as_trust_is_asked_for(
    site: Site, tmp_path: Path
) -> None:
    site.cloud.sync(site.tree)
    assert site.run().outcome == "published"
    site.publish("20260918")
    metadata = metadata_of(site, "20260918")
    planted = make_tiny(tmp_path / "planted.qcow2", mark="planted")
    plant(site, planted, "20260918", metadata)
    for trust in ("digest", "signed", "auto"):
        report = site.run(site.with_settings(source={"trust": trust}))
        assert (report.outcome, report.error) == ("unchanged", None)
        assert any("passed over" in note and "are not those of" in note for note in report.notes)
    site.cloud.glance().images.delete(newest_source(site))
    forged = {**metadata, **digests(planted)}
    plant(site, planted, "20260918", forged)
    report = site.run(site.with_settings(source={"trust": "signed"}))
    assert (report.outcome, report.error) == ("unchanged", None)
    assert any("in the signed index of" in note for note in report.notes)
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
    """What the synchroniser would record with the image of a version."""
    listing = Reader(site.target.mirror, site.settings.paths.cache).listing()
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
    assert facts.target is not None
    assert any("check that the synchroniser runs" in warning for warning in facts.target.warnings)
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
        chosen = site.harness.glance.get(here["source"]["id"])
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
    assert site.harness.glance.list({"tag": [TAG]}) == []
