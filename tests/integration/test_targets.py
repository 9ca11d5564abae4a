"""Several targets: none stops another, and one build serves all that ask for the same image."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrofit.build.request import BuildRequest
from retrofit.errors import BuildError
from retrofit.model import BuiltImage
from retrofit.produce.preflight import machine
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.octavia import ImageManager
from tests.integration.fake_builder import FakeBuilder
from tests.integration.harness import RETENTION_AT_ONCE, TAG, CloudHarness

JAMMY = "com.ubuntu.cloud:server:22.04:amd64"
JAMMY_TAG = f"{TAG}-jammy"
TWO_SERIES = f"""{RETENTION_AT_ONCE}
[target.noble]
[target.jammy.source]
series = ["jammy"]
[target.jammy.publish]
tag = "{JAMMY_TAG}"
"""
TWO_REGIONS = f"""{RETENTION_AT_ONCE}
[target.one]
[target.two.cloud]
region = "RegionTwo"
"""


class FailsFor(FakeBuilder):
    """A builder that fails for one release of Ubuntu."""

    release = ""

    def build(self, request: BuildRequest) -> BuiltImage:
        if request.expected_os is not None and request.expected_os[1] == self.release:
            raise BuildError("disk-image-create failed", hint="see build.log")
        return super().build(request)


@pytest.fixture
def series(harness: CloudHarness) -> CloudHarness:
    """Two targets in one region: noble and jammy, each with its tag."""
    harness.toml = TWO_SERIES
    harness.tags = {"jammy": JAMMY_TAG}
    harness.source("20260911")
    harness.source("20260911", product=JAMMY)
    return harness


def outcomes(document: Any) -> dict[str, str]:
    return {report["target"]: report["outcome"] for report in document["runs"]}


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("release", "failing", "other"), [("24.04", "noble", "jammy"), ("22.04", "jammy", "noble")]
)
def test_one_whose_build_fails_stops_no_other(
    series: CloudHarness, release: str, failing: str, other: str
) -> None:
    fake_builder = FailsFor(series.make_image)
    fake_builder.release = release
    series.fake_builder = fake_builder
    document = series.retrofit("run-once", "-o", "json", exit_code=5).document
    assert outcomes(document) == {failing: "failed", other: "published"}
    reports = {report["target"]: report for report in document["runs"]}
    assert reports[failing]["error"]["code"] == "build"
    assert reports[other]["error"] is None
    assert series.octavia(series.tags.get(other, TAG)) == reports[other]["image_id"]
    assert series.octavia(series.tags.get(failing, TAG)) is None
    table = series.retrofit("run-once", exit_code=5).stdout
    assert "backoff" in table
    assert "unchanged" in table
    statuses = {each["target"]: each for each in series.read("status")["targets"]}
    assert statuses[failing]["failing"]["count"] == 1
    assert statuses[other]["failing"] is None


def test_each_rotates_its_own_images_only(series: CloudHarness) -> None:
    first = {report["target"]: report for report in series.act("run-once")["runs"]}
    series.source("20260912", product=JAMMY)
    document = series.act("run-once")
    assert outcomes(document) == {"noble": "unchanged", "jammy": "published"}
    assert document["runs"][1]["demoted"] == [first["jammy"]["image_id"]]
    assert series.octavia() == first["noble"]["image_id"]


def test_one_can_be_named(series: CloudHarness) -> None:
    report = series.act("run-once", "--target", "jammy")
    assert (report["target"], report["outcome"]) == ("jammy", "published")
    assert series.octavia() is None
    assert series.read("plan", "--target", "noble")["action"] == "build"
    assert {plan["target"]: plan["action"] for plan in series.read("plan")["plans"]} == {
        "noble": "build",
        "jammy": "none",
    }
    assert [image["target"] for image in series.read("list")] == ["jammy"]


def test_going_back_wants_to_know_which_unless_an_image_says_it(series: CloudHarness) -> None:
    older = series.former("20260909", days=9, retrofit_target="jammy")
    series.promoted("20260911", days=3, retrofit_target="jammy", tags=[JAMMY_TAG])
    standing = series.promoted("20260911", days=3, retrofit_target="noble")
    said = series.refused("rollback", "--yes", exit_code=2)
    assert "several targets could go back: noble, jammy" in said
    assert "--target" in said
    report = series.act("rollback", "--yes", older)
    assert (report["target"], report["image_id"]) == ("jammy", older)
    assert series.octavia() == standing


def test_a_pause_of_one_is_none_of_the_other(series: CloudHarness) -> None:
    series.retrofit("pause", "--reason", "x", "--target", "noble")
    assert outcomes(series.retrofit("run-once", "-o", "json").document) == {
        "noble": "paused",
        "jammy": "published",
    }


def test_an_architecture_that_cannot_run_here_is_refused_and_the_other_is_published(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "BINFMT", harness.directory / "no-emulators")
    foreign, product = (
        ("aarch64", "arm64") if os.uname().machine == "x86_64" else ("x86_64", "amd64")
    )
    harness.source(
        "20260911", product=f"com.ubuntu.cloud:server:24.04:{product}", architecture=foreign
    )
    harness.source("20260911")
    harness.toml = (
        f'[target.arm.source]\narchitecture = "{foreign}"\n[target.arm.publish]\ntag = "arm"\n'
    )
    harness.toml += "[target.native]\n"
    document = harness.retrofit("run-once", "-o", "json", exit_code=5).document
    arm, native = document["runs"]
    assert f"cannot run programs of {foreign}" in arm["error"]["message"]
    assert "binfmt" in arm["error"]["hint"]
    assert native["outcome"] == "published"
    assert harness.octavia() == native["image_id"]
    assert len(harness.fake_builder.built) == 1


def test_two_with_one_tag_in_one_region_are_refused_before_anything(harness: CloudHarness) -> None:
    harness.toml = '[target.noble]\n[target.jammy.source]\nseries = ["jammy"]\n'
    said = harness.refused("config", "check", exit_code=2)
    assert f"target.jammy.publish.tag: '{TAG}' is the tag of target noble" in said
    harness.refused("run-once", exit_code=2)


@pytest.fixture(scope="module")
def image_manager_of_two(second_region: Devcloud) -> Iterator[ImageManager]:
    with ImageManager(second_region.running, region=second_region.region) as manager:
        yield manager


@pytest.fixture
def two(
    harness: CloudHarness,
    second_region: Devcloud,
    image_manager_of_two: ImageManager,
    tmp_path: Path,
    tiny_image: Callable[..., Path],
) -> Iterator[CloudHarness]:
    """The second region's Glance; the first one's harness has a target for each of the two."""
    harness.toml = TWO_REGIONS
    # The client library accepts a region that the entry lists, and no other one.
    document = yaml.safe_load(harness.site.clouds_yaml.read_text())
    del document["clouds"]["demo"]["region_name"]
    document["clouds"]["demo"]["regions"] = ["RegionOne", "RegionTwo"]
    harness.clouds_yaml = tmp_path / "clouds.yaml"
    harness.clouds_yaml.write_text(yaml.safe_dump(document))
    second_region.delete_all_images()
    yield CloudHarness(
        site=second_region,
        manager=image_manager_of_two,
        directory=tmp_path,
        make_image=tiny_image,
    )
    second_region.delete_all_images()


class TestRegions:
    """Two regions with one recipe."""

    def test_one_build_is_published_to_each_and_promoted_in_each(
        self, harness: CloudHarness, two: CloudHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr(machine, "require_runnable", asked.append)
        sources = [harness.source("20260911"), two.source("20260911")]
        document = harness.retrofit("run-once", "-o", "json").document
        assert outcomes(document) == {"one": "published", "two": "published"}
        first, second = document["runs"]
        assert (len(harness.fake_builder.built), len(harness.fake_builder.verified)) == (1, 1)
        assert len(asked) == 1, "what is made already needs no machine to make it"
        assert [harness.octavia(), two.octavia()] == [first["image_id"], second["image_id"]]
        images = [harness.image(first["image_id"]), two.image(second["image_id"])]
        assert images[0]["os_hash_value"] == images[1]["os_hash_value"]
        assert [image["retrofit_source_id"] for image in images] == sources
        assert [image["retrofit_target"] for image in images] == ["one", "two"]
        assert any(first["run_id"] in note for note in second["notes"])
        assert second["verification"]["passed"]
        assert not list(harness.path("work").glob(".shared-builds/*"))
        again = harness.retrofit("run-once", "-o", "json").document
        assert set(outcomes(again).values()) == {"unchanged"}

    def test_the_first_stands_when_the_second_refuses_the_upload(
        self, harness: CloudHarness, two: CloudHarness
    ) -> None:
        harness.source("20260911")
        two.source("20260911")
        before = two.promoted("20260910", days=3, retrofit_target="two")

        def larger_than_the_second_takes(path: Path) -> Path:
            noise = path.with_suffix(".raw")
            noise.write_bytes(os.urandom(4 << 20))
            convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", noise, path]
            subprocess.run(convert, check=True)
            return path

        harness.fake_builder.make_image = larger_than_the_second_takes
        document = harness.retrofit("run-once", "-o", "json", exit_code=7).document
        assert outcomes(document) == {"one": "published", "two": "failed"}
        assert "413" in document["runs"][1]["error"]["message"]
        assert harness.octavia() == document["runs"][0]["image_id"]
        assert two.octavia() == before
        assert set(two.everything()) == {before, document["runs"][1]["source"]["id"]}
        assert not list(harness.path("work").glob(".shared-builds/*"))

    @pytest.mark.slow
    def test_the_first_stands_when_the_second_cannot_be_reached(
        self, harness: CloudHarness, two: CloudHarness
    ) -> None:
        harness.source("20260911")
        with two.site.without_glance():
            document = harness.retrofit("run-once", "-o", "json", exit_code=3).document
        assert outcomes(document) == {"one": "published", "two": "failed"}
        assert harness.octavia() == document["runs"][0]["image_id"]

    @pytest.mark.slow
    def test_one_that_is_current_is_left_alone(
        self, harness: CloudHarness, two: CloudHarness
    ) -> None:
        harness.source("20260911")
        two.source("20260911")
        standing = harness.promoted("20260911", days=3, retrofit_target="one")
        document = harness.retrofit("run-once", "-o", "json").document
        assert outcomes(document) == {"one": "unchanged", "two": "published"}
        assert (harness.octavia(), two.octavia()) == (standing, document["runs"][1]["image_id"])

    def test_other_bytes_are_another_build(self, harness: CloudHarness, two: CloudHarness) -> None:
        harness.source("20260911")
        two.source("20260911", file=harness.make_image("other.qcow2"))
        document = harness.retrofit("run-once", "-o", "json").document
        assert set(outcomes(document).values()) == {"published"}
        assert len(harness.fake_builder.built) == 2

    def test_going_back_in_one_leaves_the_other(
        self, harness: CloudHarness, two: CloudHarness
    ) -> None:
        harness.former("20260909", days=9, retrofit_target="one")
        standing = harness.promoted("20260911", days=3, retrofit_target="one")
        before = two.former("20260909", days=9, retrofit_target="two")
        two.promoted("20260911", days=3, retrofit_target="two")
        harness.retrofit("rollback", "--yes", "--target", "two")
        assert (harness.octavia(), two.octavia()) == (standing, before)
