"""Whose images are: several installations, copies and former names in one real project."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import CHARM_TAG, RETENTION_AT_ONCE, TAG, CloudHarness

STAGING = "octavia-amphora-staging"
ONE = f"{RETENTION_AT_ONCE}keep = 1\n"


@pytest.fixture
def staging(harness: CloudHarness) -> CloudHarness:
    """A second installation in the project: all defaults but its tag and paths."""
    return replace(
        harness, machine="staging", toml=f'{ONE}tag = "{STAGING}"\n', tags={"default": STAGING}
    )


def copy(harness: CloudHarness, image_id: str, file: Path, **changed: Any) -> str:
    """Make an image with all custom properties of another, as Cinder and replicators do.

    Cinder's upload-to-image copies them and sets none of Nova's marks (cinder/volume/api.py,
    _merge_volume_image_meta); it gives no tags.
    """
    image = harness.image(image_id)
    standard = {"id", "schema", "self", "file", "tags", "owner", "status", "size", "checksum"}
    standard |= {"virtual_size", "created_at", "updated_at", "locations", "direct_url", "stores"}
    properties = {
        key: value
        for key, value in image.items()
        if key not in standard and not key.startswith("os_h") and value is not None
    }
    return harness.site.plant(file, **{**properties, **changed})


def in_order(seen: list[str | None]) -> list[str | None]:
    """What was seen, without repetitions in a row."""
    return [each for number, each in enumerate(seen) if number == 0 or seen[number - 1] != each]


def published(document: Any) -> str:
    (report,) = document.get("runs", [document])
    assert report["outcome"] == "published", report
    return str(report["image_id"])


def test_two_installations_leave_each_other_s_images_alone(
    harness: CloudHarness, staging: CloudHarness
) -> None:
    """Production, and staging with all defaults but a tag: each has its newest at every moment."""
    harness.toml = ONE
    made: dict[str, list[str]] = {TAG: [], STAGING: []}
    harness.source("20260901")
    for site, tag in ((harness, TAG), (staging, STAGING)):
        made[tag].append(published(site.act("run-once")))
    with harness.polled_for(TAG, STAGING) as seen:
        for version in ("20260902", "20260903", "20260904"):
            harness.source(version)
            for site, tag in ((staging, STAGING), (harness, TAG)):
                made[tag].append(published(site.act("run-once")))
                site.retrofit("retire", "--yes")
    for tag, images in made.items():
        assert in_order(seen[tag]) == images
        assert harness.tagged(tag) == {images[-1]}
        assert all(harness.gone(image) for image in images[:-1])
    (note,) = [note for note in harness.read("plan")["notes"] if STAGING in note]
    assert "another installation" in note
    listed = {each["id"]: each for each in staging.read("list")}
    assert listed[made[TAG][-1]]["remark"].startswith("belongs to another installation")
    said = staging.refused("promote", "--yes", made[TAG][-1], exit_code=7)
    assert "belongs to another installation" in said


def test_an_installation_of_another_target_name_is_warned_of_in_the_plan(
    harness: CloudHarness, staging: CloudHarness
) -> None:
    harness.source("20260901")
    staging.toml = f'[target.edge.publish]\ntag = "{STAGING}"\n'
    staging.tags = {"edge": STAGING}
    published(staging.act("run-once"))
    (note,) = [note for note in harness.read("plan")["notes"] if STAGING in note]
    assert "target edge" in note
    published(harness.act("run-once"))
    assert not [note for note in staging.read("plan")["notes"] if "edge" in note]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("tagged", [False, True], ids=["without our tag", "with it"])
def test_a_copy_is_neither_promoted_nor_hidden_nor_deleted(
    harness: CloudHarness, tagged: bool, make_raw: Callable[[], Path]
) -> None:
    """Of the promoted image and of a demoted one, as Cinder and `image save` make them."""
    harness.toml = ONE
    harness.source("20260911")
    demoted = harness.former("20260901", days=9)
    first = published(harness.act("run-once"))
    saved = harness.directory / "saved.qcow2"
    saved.write_bytes(b"".join(harness.client.images.data(first)))
    tags = {"tags": ["octavia-amphora"]} if tagged else {}
    copies = [
        copy(harness, first, make_raw(), disk_format="raw", name="evidence"),
        copy(harness, first, saved, name="saved"),
    ]
    if not harness.gone(demoted):
        copies.append(copy(harness, demoted, saved, name="old"))
    for image in copies:
        harness.rows.set_created(image, harness.rows.created(first))
        if tagged:
            harness.client.images.update(image, tags=tags["tags"])
    before = harness.everything()
    for version in ("20260912", "20260913"):
        harness.source(version)
        harness.retrofit("run-once", exit_code=None)
        harness.retrofit("retire", "--yes")
    after = harness.everything()
    assert [after[image] for image in copies] == [before[image] for image in copies]
    listed = {each["id"]: each for each in harness.read("list")}
    for image in copies[:2]:
        assert listed[image]["remark"].startswith(f"is a copy of image {first}")
        said = harness.refused("promote", "--yes", image, exit_code=7)
        assert f"is a copy of image {first}" in said


@pytest.fixture
def make_raw(tmp_path: Path) -> Callable[[], Path]:
    """The disk of an amphora, as its volume holds it."""

    def make() -> Path:
        path = tmp_path / f"{uuid.uuid4()}.raw"
        path.write_bytes(b"the disk of an amphora that was broken into")
        return path

    return make


def test_an_image_with_a_flavor_s_tag_stays_tagged_shown_and_there(harness: CloudHarness) -> None:
    harness.toml = ONE
    harness.source("20260911")
    pinned = published(harness.act("run-once"))
    harness.client.image_tags.update(pinned, "pinned-by-a-flavor")
    harness.client.image_tags.update(pinned, CHARM_TAG)  # which is nobody's
    harness.source("20260912")
    report = harness.act("run-once")
    published(report)
    harness.retrofit("retire", "--yes")
    image = harness.image(pinned)
    assert set(image["tags"]) == {TAG, CHARM_TAG, "pinned-by-a-flavor"}
    assert not image["os_hidden"]
    assert harness.octavia("pinned-by-a-flavor") == pinned
    (shown,) = [each for each in harness.read("list") if each["id"] == pinned]
    assert shown["kept_by_tags"] == ["pinned-by-a-flavor"]
    assert "pinned-by-a-flavor" in harness.retrofit("list").stdout
    harness.act("rollback", "--yes", pinned)
    assert harness.octavia() == pinned


def test_no_rollback_goes_behind_an_image_with_a_flavor_s_tag(harness: CloudHarness) -> None:
    """It would have to lose our tag, and nobody can say who takes it by the other."""
    harness.former("20260910", days=3)
    pinned = harness.promoted("20260911", days=1, tags=[TAG, "pinned-by-a-flavor"])
    said = harness.refused("rollback", "--yes", exit_code=7)
    assert "pinned-by-a-flavor" in said
    assert f"openstack image unset --tag {TAG} {pinned}" in said


def test_a_changed_tag_and_name_lose_nothing(harness: CloudHarness) -> None:
    """Pause, rollback and retention stay, and either tag finds the newest image at any moment."""
    harness.toml = RETENTION_AT_ONCE
    harness.source("20260911")
    first = published(harness.act("run-once"))
    harness.source("20260912")
    second = published(harness.act("run-once"))
    harness.retrofit("pause", "--reason", "a change freeze")
    harness.toml = (
        f'[target.noble]\nformerly = ["default"]\n{RETENTION_AT_ONCE}'
        f'[target.noble.publish]\ntag = "v2"\nformer_tags = ["{TAG}"]\n'
    )
    harness.tags = {"noble": "v2"}
    plan = harness.read("plan")
    assert (plan["action"], plan["promoted"]) == ("paused", second)
    assert {each["image"] for each in plan["carry_over"]} == {first, second}
    harness.retrofit("run-once")
    assert set(harness.image(second)["tags"]) == {TAG}  # in a pause nothing is written
    harness.retrofit("resume")
    with harness.polled_for(TAG) as seen:
        report = harness.act("run-once")
        (run,) = report.get("runs", [report])
        assert (run["outcome"], run["image_id"]) == ("unchanged", second)
        assert set(run["adopted"]) == {first, second}
        with harness.polled_for("v2") as new:
            harness.act("rollback", "--yes")
            harness.source("20260913")
            third = published(harness.act("run-once"))
    assert in_order(seen[TAG]) == [second, first, third]
    assert in_order(new["v2"]) == [second, first, third]
    assert set(harness.image(third)["tags"]) == {TAG, "v2"}
    assert harness.image(third)["retrofit_target"] == "noble"
    harness.toml = harness.toml.replace(f'former_tags = ["{TAG}"]\n', "")
    harness.act("run-once")
    assert set(harness.image(third)["tags"]) == {TAG, "v2"}
    assert TAG in harness.retrofit("list").stdout


def test_an_orphaned_target_is_named_with_the_setting_to_write(harness: CloudHarness) -> None:
    harness.source("20260911")
    first = published(harness.act("run-once"))
    harness.toml = "[target.noble]\n"
    notes = harness.read("plan")["notes"]
    assert [note for note in notes if first in note and 'formerly = ["default"]' in note]


def test_adopt_moves_the_images_of_another_installation(
    harness: CloudHarness, staging: CloudHarness
) -> None:
    harness.source("20260911")
    first = published(staging.act("run-once"))
    said = harness.refused("adopt", "--from-tag", STAGING, exit_code=2)
    assert "--yes" in said
    report = harness.retrofit("adopt", "--from-tag", STAGING, "--yes", "-o", "json").document
    assert (report["outcome"], report["adopted"]) == ("adopted", [first])
    assert harness.read("show", first)["state"] == "demoted"
    # Its tag is another's: Octavia may still look for it.
    harness.act("promote", "--yes", first)
    assert set(harness.image(first)["tags"]) == {TAG, STAGING}
    again = harness.retrofit("adopt", first, "--yes", "-o", "json").document
    assert (again["outcome"], again["adopted"]) == ("unchanged", [])
    source = harness.source("20260801")
    assert "was not made by retrofit" in harness.refused("adopt", source, "--yes", exit_code=2)
    said = harness.refused("adopt", first, "--from-tag", STAGING, exit_code=2)
    assert "exclude each other" in said
