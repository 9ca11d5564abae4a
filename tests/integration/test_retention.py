"""What stays in Glance, what leaves the stage, what is never touched, and what is warned of."""

from __future__ import annotations

import socket
import uuid
from typing import Any

import pytest

from retrofit.runs.own_paths import state_id
from tests.integration.harness import CHARM_TAG, TAG, CloudHarness


def retirement(harness: CloudHarness, publish: str = "") -> Any:
    harness.toml = f"[publish]\n{publish}\n"
    return harness.retrofit("retire", "--dry-run", "-o", "json").document


@pytest.mark.parametrize("keep", [1, 3])
def test_a_run_leaves_as_many_images_as_are_to_be_kept(harness: CloudHarness, keep: int) -> None:
    harness.source("20260912")
    versions = {
        harness.promoted("20260911", days=50): "20260911",
        harness.former("20260910", days=60): "20260910",
        harness.former("20260909", days=70): "20260909",
        harness.former("20260908", days=80): "20260908",
    }
    harness.toml = f"[publish]\nkeep = {keep}\nretire_after = 0\nretire_after_unknown = 0\n"
    report = harness.act("run-once")
    kept = [report["image_id"], *list(versions)[: keep - 1]]
    assert set(harness.everything()) - {report["source"]["id"]} == set(kept)
    assert sorted(report["retired"]) == sorted(set(versions) - set(kept))


def test_an_image_stays_for_its_minimum_age_after_its_demotion(harness: CloudHarness) -> None:
    harness.promoted("20260911", days=9)
    harness.former("20260910", days=60, demoted_days=9)
    recent = harness.former("20260909", days=70, demoted_days=40)
    long_gone = harness.former("20260908", days=80, demoted_days=60)
    plan = retirement(harness, "retire_after_unknown = 1200")  # 50 days
    assert plan["retire"] == [long_gone]
    (note,) = [note for note in plan["notes"] if recent in note]
    assert "publish.retire_after_unknown" in note
    assert "amphorae may still run on it" in note
    plan = retirement(harness, "retire_after_unknown = 0\nretire_after = 1200")
    assert plan["retire"] == [long_gone]


def test_what_was_just_demoted_stays_although_it_is_old(harness: CloudHarness) -> None:
    harness.source("20260912")
    harness.toml = "[publish]\nkeep = 1\n"
    old = harness.promoted("20260101", days=250)
    report = harness.act("run-once")
    assert (report["demoted"], report["retired"]) == ([old], [])
    assert any(old in note and "stays until" in note for note in report["notes"])


def test_a_protected_image_stays_and_is_named(harness: CloudHarness) -> None:
    harness.promoted("20260911", days=9)
    harness.former("20260910", days=60)
    protected = harness.former("20260909", days=70, protected=True)
    unprotected = harness.former("20260908", days=80)
    report = harness.act("retire", "--yes")
    assert report["retired"] == [unprotected]
    assert f"image {protected} is protected: kept" in report["notes"]
    assert not harness.gone(protected)


def test_nothing_of_others_is_ever_touched(harness: CloudHarness) -> None:
    harness.source("20260912")
    harness.promoted("20260911", days=50)
    look = {"retrofit_target": "default", "source_version_name": "20200101", "tags": [TAG]}
    others = [
        harness.foreign(days=900, **look),
        harness.foreign(days=900, **look, os_hidden=True),
        harness.amphora("20200101", days=900, tags=[TAG], retrofit_target="another"),
        harness.site.plant(
            harness.make_image("golden.qcow2"),
            cloud=harness.site.sync_cloud,
            name="golden",
            tags=[TAG],
        ),
        harness.of_the_charm("20200101", days=900),
    ]
    harness.rows.set_created(others[3], harness.rows.created(others[2]))
    before = harness.everything()
    harness.account = harness.site.sync_cloud  # an admin, who could
    harness.toml = "[publish]\nkeep = 1\nretire_after = 0\nretire_after_unknown = 0\n"
    harness.act("run-once")
    harness.act("run-once", "--force")
    harness.retrofit("retire", "--yes")
    after = harness.everything()
    assert [after[image_id] for image_id in others] == [before[image_id] for image_id in others]


def test_records_of_a_dead_run_are_deleted_but_not_those_of_others(
    harness: CloudHarness,
) -> None:
    harness.source("20260911")
    standing = harness.promoted("20260911", days=3)

    harness.act("run-once")
    own = state_id(harness.settings.paths)
    assert own is not None

    def unfinished(**properties: str) -> str:
        image_id = str(uuid.uuid4())
        harness.site.glance().images.create(
            name="half",
            disk_format="qcow2",
            container_format="bare",
            retrofit_host=socket.gethostname(),
            **harness.identity(image_id),
            **properties,
        )
        return image_id

    dead = unfinished(retrofit_state_id=own)
    elsewhere = unfinished(retrofit_state_id=str(uuid.uuid4()))
    theirs = str(harness.site.glance().images.create(name="half").id)
    plan = harness.read("plan")
    assert plan["clean_up"] == [dead]
    (note,) = [note for note in plan["notes"] if elsewhere in note]
    assert f"openstack image delete {elsewhere}" in note
    assert socket.gethostname() in note
    report = harness.act("run-once")
    assert (report["cleaned_up"], report["image_id"]) == ([dead], standing)
    assert harness.gone(dead)
    assert not harness.gone(elsewhere)
    assert not harness.gone(theirs)


class TestCharm:
    """Images that the octavia-diskimage-retrofit charm made before us."""

    def test_are_listed_and_shown_as_its_own(self, harness: CloudHarness) -> None:
        ours = harness.promoted("20260911", days=3)
        theirs = harness.of_the_charm("20260910", days=9)
        listed = {image["id"]: image for image in harness.read("list")}
        assert listed[ours]["made_by"] == "retrofit"
        assert listed[theirs]["made_by"] == "octavia-diskimage-retrofit charm"
        assert harness.read("show", theirs)["source_version_name"] == "20260910"

    def test_count_as_built_until_there_is_a_newer_source_or_somebody_forces(
        self, harness: CloudHarness
    ) -> None:
        harness.source("20260911")
        theirs = harness.of_the_charm("20260911", days=3)
        report = harness.retrofit("run-once", "-o", "json").document
        assert (report["outcome"], report["image_id"]) == ("unchanged", None)
        assert any(theirs in note and "nothing built" in note for note in report["notes"])
        assert harness.octavia() == theirs
        assert harness.act("run-once", "--force")["outcome"] == "published"

    def test_keep_their_tag_unless_they_may_be_adopted(self, harness: CloudHarness) -> None:
        harness.source("20260912")
        theirs = harness.of_the_charm("20260911", days=3)
        report = harness.act("run-once")
        assert (report["outcome"], report["demoted"]) == ("published", [])
        assert {CHARM_TAG, TAG} == set(harness.image(theirs)["tags"])
        assert any(
            "2 active images carry the tag" in warning
            for warning in harness.read("status")["warnings"]
        )

    def test_lose_the_tag_and_nothing_else_where_they_may_be_adopted(
        self, harness: CloudHarness
    ) -> None:
        harness.source("20260912")
        theirs = harness.of_the_charm("20260911", days=900)
        harness.toml = "[publish]\nreplace_charm_images = true\nkeep = 1\nretire_after = 0\n"
        harness.toml += "retire_after_unknown = 0\n"
        report = harness.act("run-once")
        assert (report["outcome"], report["demoted"], report["retired"]) == (
            "published", [theirs], [],
        )  # fmt: skip
        image = harness.image(theirs)
        assert (image["tags"], image["os_hidden"]) == ([CHARM_TAG], False)
        assert harness.act("run-once")["outcome"] == "unchanged"
        assert harness.tagged() == {report["image_id"]}


class TestWarnings:
    """What keeps Octavia from taking our image is said by `plan`, `status` and every run."""

    def said(self, harness: CloudHarness) -> str:
        warnings = harness.read("status")["warnings"]
        plan = harness.retrofit("plan", "-o", "json", exit_code=None).document
        assert set(warnings) <= set(plan["notes"])
        table = harness.retrofit("status").stdout
        assert all(warning[:60] in table for warning in warnings)
        return "\n".join(warnings)

    def test_none_where_all_is_well(self, harness: CloudHarness) -> None:
        harness.promoted("20260911", days=3)
        harness.former("20260910", days=9)
        assert self.said(harness) == ""

    def test_an_image_of_ours_that_is_tagged_and_hidden(self, harness: CloudHarness) -> None:
        harness.promoted("20260911", days=3)
        hidden = harness.amphora("20260912", tags=[TAG], os_hidden=True)
        assert f"image {hidden} carries the tag {TAG} and is hidden" in self.said(harness)

    def test_an_image_of_ours_that_is_tagged_and_deactivated(self, harness: CloudHarness) -> None:
        standing = harness.promoted("20260911", days=3)
        harness.client.images.deactivate(standing)
        assert f"image {standing} carries the tag {TAG} and is deactivated" in self.said(harness)
        assert harness.read("status")["promoted"] is None

    def test_an_image_of_our_project_that_octavia_takes_instead(
        self, harness: CloudHarness
    ) -> None:
        harness.promoted("20260911", days=3)
        other = harness.site.plant(harness.make_image("golden.qcow2"), name="golden", tags=[TAG])
        said = self.said(harness)
        assert f"Octavia selects image {other} (golden" in said
        assert f"remove its tag {TAG}" in said
        assert harness.read("status")["octavia_image"] == other == harness.octavia()

    def test_an_image_of_another_project_that_octavia_takes_without_an_owner(
        self, harness: CloudHarness
    ) -> None:
        standing = harness.promoted("20260911", days=3)
        planted = harness.foreign(tags=[TAG], name="look-alike")
        harness.account = harness.site.sync_cloud
        said = self.said(harness)
        assert f"Octavia selects image {planted} (look-alike" in said
        assert f"set amp_image_owner_id = {harness.project}" in said
        assert (harness.octavia(owner=False), harness.octavia()) == (planted, standing)

    def test_several_images_with_the_tag(self, harness: CloudHarness) -> None:
        newer = harness.promoted("20260911", days=3)
        older = harness.promoted("20260910", days=9)
        assert f"2 active images carry the tag {TAG}: {newer}, {older}" in self.said(harness)
        harness.source("20260911")
        report = harness.act("run-once")
        assert (report["outcome"], report["demoted"]) == ("unchanged", [older])
        assert harness.tagged() == {newer}
