"""What stays in Glance, what leaves the stage, what is never touched, and what is warned of."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.integration.stage import CHARM_TAG, TAG, Stage


def retirement(stage: Stage, publish: str = "") -> Any:
    stage.toml = f"[publish]\n{publish}\n"
    return stage.retrofit("retire", "--dry-run", "-o", "json").document


@pytest.mark.parametrize("keep", [1, 3])
def test_a_run_leaves_as_many_images_as_are_to_be_kept(stage: Stage, keep: int) -> None:
    stage.source("20260912")
    versions = {
        stage.promoted("20260911", days=50): "20260911",
        stage.former("20260910", days=60): "20260910",
        stage.former("20260909", days=70): "20260909",
        stage.former("20260908", days=80): "20260908",
    }
    stage.toml = f"[publish]\nkeep = {keep}\nretire_after = 0\nretire_unasked_after = 0\n"
    report = stage.act("run-once")
    kept = [report["image_id"], *list(versions)[: keep - 1]]
    assert set(stage.everything()) - {report["source"]["id"]} == set(kept)
    assert sorted(report["retired"]) == sorted(set(versions) - set(kept))


def test_an_image_stays_for_its_minimum_age_after_its_demotion(stage: Stage) -> None:
    stage.promoted("20260911", days=9)
    stage.former("20260910", days=60, demoted_days=9)
    recent = stage.former("20260909", days=70, demoted_days=40)
    long_gone = stage.former("20260908", days=80, demoted_days=60)
    plan = retirement(stage, "retire_unasked_after = 1200")  # 50 days
    assert plan["retire"] == [long_gone]
    (note,) = [note for note in plan["notes"] if recent in note]
    assert "publish.retire_unasked_after" in note
    assert "amphorae may still run on it" in note
    plan = retirement(stage, "retire_unasked_after = 0\nretire_after = 1200")
    assert plan["retire"] == [long_gone]


def test_what_was_just_demoted_stays_although_it_is_old(stage: Stage) -> None:
    stage.source("20260912")
    stage.toml = "[publish]\nkeep = 1\n"
    old = stage.promoted("20260101", days=250)
    report = stage.act("run-once")
    assert (report["demoted"], report["retired"]) == ([old], [])
    assert any(old in note and "stays until" in note for note in report["notes"])


def test_a_protected_image_stays_and_is_named(stage: Stage) -> None:
    stage.promoted("20260911", days=9)
    stage.former("20260910", days=60)
    protected = stage.former("20260909", days=70, protected=True)
    unprotected = stage.former("20260908", days=80)
    report = stage.act("retire", "--yes")
    assert report["retired"] == [unprotected]
    assert f"image {protected} is protected: kept" in report["notes"]
    assert not stage.gone(protected)


def test_nothing_of_others_is_ever_touched(stage: Stage) -> None:
    stage.source("20260912")
    stage.promoted("20260911", days=50)
    look = {"retrofit_target": "default", "source_version_name": "20200101", "tags": [TAG]}
    others = [
        stage.foreign(days=900, **look),
        stage.foreign(days=900, **look, os_hidden=True),
        stage.amphora("20200101", days=900, tags=[TAG], retrofit_target="another"),
        stage.site.plant(
            stage.make_image("golden.qcow2"), cloud=stage.site.sync_cloud, name="golden", tags=[TAG]
        ),
        stage.of_the_charm("20200101", days=900),
    ]
    stage.rows.set_created(others[3], stage.rows.created(others[2]))
    before = stage.everything()
    stage.account = stage.site.sync_cloud  # an admin, who could
    stage.toml = "[publish]\nkeep = 1\nretire_after = 0\nretire_unasked_after = 0\n"
    stage.act("run-once")
    stage.act("run-once", "--force")
    stage.retrofit("retire", "--yes")
    after = stage.everything()
    assert [after[image_id] for image_id in others] == [before[image_id] for image_id in others]


def test_images_of_a_dead_run_are_swept_and_those_of_others_are_not(stage: Stage) -> None:
    stage.source("20260911")
    standing = stage.promoted("20260911", days=3)

    def unfinished(**properties: str) -> str:
        made = stage.site.glance().images.create(
            name="half", disk_format="qcow2", container_format="bare", **properties
        )
        return str(made.id)

    own = {"retrofit_target": "default", "retrofit_host": socket.gethostname()}
    dead = unfinished(**own)
    elsewhere = unfinished(retrofit_target="default", retrofit_host="elsewhere")
    theirs = unfinished()
    assert stage.read("plan")["sweep"] == [dead]
    report = stage.act("run-once")
    assert (report["swept"], report["image_id"]) == ([dead], standing)
    assert stage.gone(dead)
    assert not stage.gone(elsewhere)
    assert not stage.gone(theirs)


class TestCharm:
    """Images that the octavia-diskimage-retrofit charm made before us."""

    def test_are_listed_and_shown_as_its_own(self, stage: Stage) -> None:
        ours = stage.promoted("20260911", days=3)
        theirs = stage.of_the_charm("20260910", days=9)
        listed = {image["id"]: image for image in stage.read("list")}
        assert listed[ours]["made_by"] == "retrofit"
        assert listed[theirs]["made_by"] == "octavia-diskimage-retrofit charm"
        assert stage.read("show", theirs)["source_version_name"] == "20260910"

    def test_count_as_built_until_there_is_a_newer_source_or_somebody_forces(
        self, stage: Stage
    ) -> None:
        stage.source("20260911")
        theirs = stage.of_the_charm("20260911", days=3)
        report = stage.retrofit("run-once", "-o", "json").document
        assert (report["outcome"], report["image_id"]) == ("unchanged", None)
        assert any(theirs in note and "nothing built" in note for note in report["notes"])
        assert stage.octavia() == theirs
        assert stage.act("run-once", "--force")["outcome"] == "published"

    def test_keep_their_tag_unless_they_may_be_adopted(self, stage: Stage) -> None:
        stage.source("20260912")
        theirs = stage.of_the_charm("20260911", days=3)
        report = stage.act("run-once")
        assert (report["outcome"], report["demoted"]) == ("published", [])
        assert {CHARM_TAG, TAG} == set(stage.image(theirs)["tags"])
        assert any(
            "2 active images carry the tag" in warning
            for warning in stage.read("status")["warnings"]
        )

    def test_lose_the_tag_and_nothing_else_where_they_may_be_adopted(self, stage: Stage) -> None:
        stage.source("20260912")
        theirs = stage.of_the_charm("20260911", days=900)
        stage.toml = "[publish]\nadopt = true\nkeep = 1\nretire_after = 0\n"
        stage.toml += "retire_unasked_after = 0\n"
        report = stage.act("run-once")
        assert (report["outcome"], report["demoted"], report["retired"]) == (
            "published", [theirs], [],
        )  # fmt: skip
        image = stage.image(theirs)
        assert (image["tags"], image["os_hidden"]) == ([CHARM_TAG], False)
        assert stage.act("run-once")["outcome"] == "unchanged"
        assert stage.tagged() == {report["image_id"]}


class TestWarnings:
    """What keeps Octavia from taking our image is said by `plan`, `status` and every run."""

    def said(self, stage: Stage) -> str:
        warnings = stage.read("status")["warnings"]
        plan = stage.retrofit("plan", "-o", "json", exit_code=None).document
        assert set(warnings) <= set(plan["notes"])
        table = stage.retrofit("status").stdout
        assert all(warning[:60] in table for warning in warnings)
        return "\n".join(warnings)

    def test_none_where_all_is_well(self, stage: Stage) -> None:
        stage.promoted("20260911", days=3)
        stage.former("20260910", days=9)
        assert self.said(stage) == ""

    def test_an_image_of_ours_that_is_tagged_and_hidden(self, stage: Stage) -> None:
        stage.promoted("20260911", days=3)
        hidden = stage.amphora("20260912", tags=[TAG], os_hidden=True)
        assert f"image {hidden} carries the tag {TAG} and is hidden" in self.said(stage)

    def test_an_image_of_ours_that_is_tagged_and_deactivated(self, stage: Stage) -> None:
        standing = stage.promoted("20260911", days=3)
        stage.client.images.deactivate(standing)
        assert f"image {standing} carries the tag {TAG} and is deactivated" in self.said(stage)
        assert stage.read("status")["promoted"] is None

    def test_an_image_of_our_project_that_octavia_takes_instead(self, stage: Stage) -> None:
        stage.promoted("20260911", days=3)
        other = stage.site.plant(stage.make_image("golden.qcow2"), name="golden", tags=[TAG])
        said = self.said(stage)
        assert f"Octavia takes image {other} (golden" in said
        assert f"remove its tag {TAG}" in said
        assert stage.read("status")["octavia_takes"] == other == stage.octavia()

    def test_an_image_of_another_project_that_octavia_takes_without_an_owner(
        self, stage: Stage
    ) -> None:
        standing = stage.promoted("20260911", days=3)
        planted = stage.foreign(tags=[TAG], name="look-alike")
        stage.account = stage.site.sync_cloud
        said = self.said(stage)
        assert f"Octavia takes image {planted} (look-alike" in said
        assert f"set amp_image_owner_id = {stage.project}" in said
        assert (stage.octavia(owner=False), stage.octavia()) == (planted, standing)

    def test_several_images_with_the_tag(self, stage: Stage) -> None:
        newer = stage.promoted("20260911", days=3)
        older = stage.promoted("20260910", days=9)
        assert f"2 active images carry the tag {TAG}: {newer}, {older}" in self.said(stage)
        stage.source("20260911")
        report = stage.act("run-once")
        assert (report["outcome"], report["demoted"]) == ("unchanged", [older])
        assert stage.tagged() == {newer}
