"""Several targets: none stops another, and one build serves all that ask for the same image."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrofit import making
from retrofit.dib import preflight
from retrofit.errors import BuildError
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.octavia import ImageManager
from tests.integration.stage import RETENTION_AT_ONCE, TAG, Stage
from tests.integration.workshop import Workshop

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


class FailsFor(Workshop):
    """A builder that fails for one release of Ubuntu."""

    release = ""

    def build(self, source: Path, **asked: Any) -> Any:
        if asked["expected_os"][1] == self.release:
            raise BuildError("disk-image-create failed", hint="see build.log")
        return super().build(source, **asked)


@pytest.fixture
def series(stage: Stage) -> Stage:
    """Two targets in one region: noble and jammy, each with its tag."""
    stage.toml = TWO_SERIES
    stage.tags = {"jammy": JAMMY_TAG}
    stage.source("20260911")
    stage.source("20260911", product=JAMMY)
    return stage


def outcomes(document: Any) -> dict[str, str]:
    return {report["target"]: report["outcome"] for report in document["runs"]}


@pytest.mark.parametrize(
    ("release", "failing", "other"), [("24.04", "noble", "jammy"), ("22.04", "jammy", "noble")]
)
def test_one_whose_build_fails_stops_no_other(
    series: Stage, release: str, failing: str, other: str
) -> None:
    workshop = FailsFor(series.make_image)
    workshop.release = release
    series.workshop = workshop
    document = series.retrofit("run-once", "-o", "json", exit_code=5).document
    assert document["outcome"] == "failed"
    assert outcomes(document) == {failing: "failed", other: "published"}
    reports = {report["target"]: report for report in document["runs"]}
    assert reports[failing]["error"]["code"] == "build"
    assert reports[other]["error"] is None
    assert series.octavia(series.tags.get(other, TAG)) == reports[other]["image_id"]
    assert series.octavia(series.tags.get(failing, TAG)) is None
    table = series.retrofit("run-once", exit_code=5).stdout
    assert "waiting" in table
    assert "unchanged" in table
    statuses = {each["target"]: each for each in series.read("status")["targets"]}
    assert statuses[failing]["failing"]["count"] == 1
    assert statuses[other]["failing"] is None


def test_each_rotates_its_own_images_only(series: Stage) -> None:
    first = {report["target"]: report for report in series.act("run-once")["runs"]}
    series.source("20260912", product=JAMMY)
    document = series.act("run-once")
    assert outcomes(document) == {"noble": "unchanged", "jammy": "published"}
    assert document["runs"][1]["demoted"] == [first["jammy"]["image_id"]]
    assert series.octavia() == first["noble"]["image_id"]


def test_one_can_be_named(series: Stage) -> None:
    report = series.act("run-once", "--target", "jammy")
    assert (report["target"], report["outcome"]) == ("jammy", "published")
    assert series.octavia() is None
    assert series.read("plan", "--target", "noble")["action"] == "build"
    assert {plan["target"]: plan["action"] for plan in series.read("plan")["plans"]} == {
        "noble": "build",
        "jammy": "none",
    }
    assert [image["target"] for image in series.read("list")] == ["jammy"]


def test_going_back_wants_to_know_which_unless_an_image_says_it(series: Stage) -> None:
    older = series.former("20260909", days=9, retrofit_target="jammy")
    series.promoted("20260911", days=3, retrofit_target="jammy", tags=[JAMMY_TAG])
    standing = series.promoted("20260911", days=3, retrofit_target="noble")
    said = series.refused("rollback", "--yes", exit_code=2)
    assert "several targets could go back: noble, jammy" in said
    assert "--target" in said
    report = series.act("rollback", "--yes", older)
    assert (report["target"], report["image_id"]) == ("jammy", older)
    assert series.octavia() == standing


def test_a_pause_of_one_is_none_of_the_other(series: Stage) -> None:
    series.retrofit("pause", "--reason", "x", "--target", "noble")
    assert outcomes(series.retrofit("run-once", "-o", "json").document) == {
        "noble": "paused",
        "jammy": "published",
    }


def test_an_architecture_that_cannot_run_here_is_refused_and_the_other_is_published(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "BINFMT", stage.directory / "no-emulators")
    foreign, product = (
        ("aarch64", "arm64") if os.uname().machine == "x86_64" else ("x86_64", "amd64")
    )
    stage.source(
        "20260911", product=f"com.ubuntu.cloud:server:24.04:{product}", architecture=foreign
    )
    stage.source("20260911")
    stage.toml = (
        f'[target.arm.source]\narchitecture = "{foreign}"\n[target.arm.publish]\ntag = "arm"\n'
    )
    stage.toml += "[target.native]\n"
    document = stage.retrofit("run-once", "-o", "json", exit_code=5).document
    arm, native = document["runs"]
    assert f"cannot run programs of {foreign}" in arm["error"]["message"]
    assert "binfmt" in arm["error"]["hint"]
    assert native["outcome"] == "published"
    assert stage.octavia() == native["image_id"]
    assert len(stage.workshop.built) == 1


def test_two_with_one_tag_in_one_region_are_refused_before_anything(stage: Stage) -> None:
    stage.toml = '[target.noble]\n[target.jammy.source]\nseries = ["jammy"]\n'
    said = stage.refused("config", "check", exit_code=2)
    assert f"target.jammy.publish.tag: '{TAG}' is the tag of target noble" in said
    stage.refused("run-once", exit_code=2)


@pytest.fixture(scope="module")
def image_manager_of_two(second_region: Devcloud) -> Iterator[ImageManager]:
    with ImageManager(second_region.running, region=second_region.region) as manager:
        yield manager


@pytest.fixture
def two(
    stage: Stage,
    second_region: Devcloud,
    image_manager_of_two: ImageManager,
    tmp_path: Path,
    tiny_image: Callable[..., Path],
) -> Iterator[Stage]:
    """The second region's Glance; the first one's stage has a target for each of the two."""
    stage.toml = TWO_REGIONS
    # The client library accepts a region that the entry lists, and no other one.
    document = yaml.safe_load(stage.site.clouds_yaml.read_text())
    del document["clouds"]["demo"]["region_name"]
    document["clouds"]["demo"]["regions"] = ["RegionOne", "RegionTwo"]
    stage.clouds_yaml = tmp_path / "clouds.yaml"
    stage.clouds_yaml.write_text(yaml.safe_dump(document))
    second_region.delete_all_images()
    yield Stage(
        site=second_region,
        manager=image_manager_of_two,
        directory=tmp_path,
        make_image=tiny_image,
    )
    second_region.delete_all_images()


class TestRegions:
    """Two regions with one recipe."""

    def test_one_build_is_published_to_each_and_promoted_in_each(
        self, stage: Stage, two: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr(making, "require_machine", lambda of, **_: asked.append(of))
        sources = [stage.source("20260911"), two.source("20260911")]
        document = stage.retrofit("run-once", "-o", "json").document
        assert outcomes(document) == {"one": "published", "two": "published"}
        first, second = document["runs"]
        assert (len(stage.workshop.built), len(stage.workshop.verified)) == (1, 1)
        assert len(asked) == 1, "what is made already needs no machine to make it"
        assert [stage.octavia(), two.octavia()] == [first["image_id"], second["image_id"]]
        images = [stage.image(first["image_id"]), two.image(second["image_id"])]
        assert images[0]["os_hash_value"] == images[1]["os_hash_value"]
        assert [image["retrofit_source_id"] for image in images] == sources
        assert [image["retrofit_target"] for image in images] == ["one", "two"]
        assert any(first["run_id"] in note for note in second["notes"])
        assert second["verification"]["passed"]
        assert not list(stage.path("work").glob(".shelf/*"))
        again = stage.retrofit("run-once", "-o", "json").document
        assert set(outcomes(again).values()) == {"unchanged"}

    def test_the_first_stands_when_the_second_refuses_the_upload(
        self, stage: Stage, two: Stage
    ) -> None:
        stage.source("20260911")
        two.source("20260911")
        before = two.promoted("20260910", days=3, retrofit_target="two")

        def larger_than_the_second_takes(path: Path) -> Path:
            noise = path.with_suffix(".raw")
            noise.write_bytes(os.urandom(4 << 20))
            convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", noise, path]
            subprocess.run(convert, check=True)
            return path

        stage.workshop.make_image = larger_than_the_second_takes
        document = stage.retrofit("run-once", "-o", "json", exit_code=7).document
        assert outcomes(document) == {"one": "published", "two": "failed"}
        assert "413" in document["runs"][1]["error"]["message"]
        assert stage.octavia() == document["runs"][0]["image_id"]
        assert two.octavia() == before
        assert set(two.everything()) == {before, document["runs"][1]["source"]["id"]}
        assert not list(stage.path("work").glob(".shelf/*"))

    def test_the_first_stands_when_the_second_cannot_be_reached(
        self, stage: Stage, two: Stage
    ) -> None:
        stage.source("20260911")
        with two.site.without_glance():
            document = stage.retrofit("run-once", "-o", "json", exit_code=3).document
        assert outcomes(document) == {"one": "published", "two": "failed"}
        assert stage.octavia() == document["runs"][0]["image_id"]

    def test_one_that_is_current_is_left_alone(self, stage: Stage, two: Stage) -> None:
        stage.source("20260911")
        two.source("20260911")
        standing = stage.promoted("20260911", days=3, retrofit_target="one")
        document = stage.retrofit("run-once", "-o", "json").document
        assert outcomes(document) == {"one": "unchanged", "two": "published"}
        assert (stage.octavia(), two.octavia()) == (standing, document["runs"][1]["image_id"])

    def test_other_bytes_are_another_build(self, stage: Stage, two: Stage) -> None:
        stage.source("20260911")
        two.source("20260911", file=stage.make_image("other.qcow2"))
        document = stage.retrofit("run-once", "-o", "json").document
        assert set(outcomes(document).values()) == {"published"}
        assert len(stage.workshop.built) == 2

    def test_going_back_in_one_leaves_the_other(self, stage: Stage, two: Stage) -> None:
        stage.former("20260909", days=9, retrofit_target="one")
        standing = stage.promoted("20260911", days=3, retrofit_target="one")
        before = two.former("20260909", days=9, retrofit_target="two")
        two.promoted("20260911", days=3, retrofit_target="two")
        stage.retrofit("rollback", "--yes", "--target", "two")
        assert (stage.octavia(), two.octavia()) == (standing, before)
