"""Why a run builds, promotes, waits or does nothing, by what really stands in Glance."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retrofit.errors import BuildError
from tests.integration.stage import RETENTION_AT_ONCE, Stage

OTHER_HASH = "0" * 128


@pytest.fixture
def element(stage: Stage) -> Path:
    """A script of an element of the operator's own, which the configuration names."""
    script = stage.directory / "elements" / "site-motd" / "install.d" / "60-site-motd"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/bash\necho hello >/etc/motd\n")
    script.chmod(0o755)
    stage.toml = (
        f'{RETENTION_AT_ONCE}[build]\nelements = ["site-motd"]\n'
        f'element_paths = ["{stage.directory / "elements"}"]\n'
    )
    return script


def test_nothing_happens_while_source_and_recipe_are_what_is_promoted(stage: Stage) -> None:
    stage.source("20260911")
    standing = stage.promoted("20260911", days=3)
    before = stage.everything()
    report = stage.act("run-once")
    assert (report["outcome"], report["image_id"]) == ("unchanged", standing)
    assert "is promoted and current" in report["reasons"][0]
    assert stage.everything() == before
    assert stage.read("plan")["action"] == "none"


def test_a_newer_source_is_a_reason(stage: Stage) -> None:
    stage.source("20260911.10")
    standing = stage.promoted("20260911.9", days=3)
    plan = stage.read("plan")
    assert (plan["action"], plan["demote"]) == ("build", [standing])
    report = stage.act("run-once")
    assert report["reasons"] == plan["reasons"]
    assert report["reasons"] == ["new source version 20260911.10 (was 20260911.9)"]
    assert (report["demoted"], report["source"]["version"]) == ([standing], "20260911.10")


def test_an_older_source_is_no_reason_and_is_said(stage: Stage) -> None:
    stage.source("20260911")
    standing = stage.promoted("20260912", days=3)
    report = stage.act("run-once")
    assert (report["outcome"], report["image_id"]) == ("unchanged", standing)
    assert any("is the synchroniser running?" in note for note in report["notes"])


def test_a_changed_element_builds_and_changed_back_promotes_what_there_was(
    stage: Stage, element: Path
) -> None:
    stage.source("20260911")
    first = stage.act("run-once")["image_id"]
    was = element.read_text()
    element.write_text("#!/bin/bash\necho good evening >/etc/motd\n")
    second = stage.act("run-once")
    assert second["reasons"][0].startswith("recipe changed from sha256:")
    assert (second["demoted"], len(stage.workshop.built)) == ([first], 2)
    element.write_text(was)
    third = stage.act("run-once")
    assert third["image_id"] == first
    assert "was already built and verified from this source and recipe" in third["reasons"][-1]
    assert (third["demoted"], len(stage.workshop.built)) == ([second["image_id"]], 2)
    assert stage.act("run-once")["outcome"] == "unchanged"


def test_a_run_bit_that_an_element_lost_is_a_changed_recipe(stage: Stage, element: Path) -> None:
    stage.source("20260911")
    stage.act("run-once")
    element.chmod(0o644)
    assert stage.read("plan")["reasons"][0].startswith("recipe changed")


@pytest.mark.parametrize(
    ("build", "action"),
    [
        ('packages = ["tcpdump"]', "build"),
        ('ssh = "remove"', "build"),
        ("free_space = 700", "build"),
        ('archive_mirror = "http://mirror.example.com/ubuntu"', "none"),
        ('https_proxy = "http://proxy.example.com:3128"', "none"),
        ("timeout = 7200\ntmpfs = false", "none"),
    ],
)
def test_what_decides_contents_is_a_reason_and_how_packages_are_reached_is_none(
    stage: Stage, build: str, action: str
) -> None:
    stage.source("20260911")
    stage.promoted("20260911", days=3)
    stage.toml = f"[build]\n{build}\n"
    plan = stage.retrofit("plan", "-o", "json").document
    assert plan["action"] == action
    assert all(reason.startswith("recipe changed") for reason in plan["reasons"])


def test_an_image_that_grew_too_old_is_built_anew(stage: Stage) -> None:
    stage.source("20260911")
    standing = stage.promoted("20260911", days=30.1)
    stage.toml = f"{RETENTION_AT_ONCE}[build]\nmax_age = 31\n"
    assert stage.read("plan")["action"] == "none"
    stage.toml = f"{RETENTION_AT_ONCE}[build]\nmax_age = 30\n"
    report = stage.act("run-once")
    assert (report["outcome"], report["demoted"]) == ("published", [standing])
    assert "is older than 30 days (build.max_age)" in report["reasons"][0]
    assert stage.act("run-once")["outcome"] == "unchanged"


def test_a_promoted_image_that_somebody_deleted_is_built_again(stage: Stage) -> None:
    stage.source("20260911")
    stage.client.images.delete(stage.promoted("20260911", days=3))
    former = stage.former("20260910", days=9)
    assert stage.octavia() is None
    report = stage.act("run-once")
    assert report["reasons"] == ["no amphora image of this target is promoted"]
    assert report["image_id"] != former
    assert len(stage.workshop.built) == 1


def test_a_deactivated_image_is_built_again_and_said_to_be_deactivated(stage: Stage) -> None:
    stage.source("20260911")
    standing = stage.promoted("20260911", days=3)
    stage.client.images.deactivate(standing)
    assert stage.octavia() is None
    report = stage.act("run-once")
    assert (report["outcome"], len(stage.workshop.built)) == ("published", 1)
    assert (
        f"image {standing} carries the tag but is deactivated: Octavia cannot take it"
        in report["reasons"]
    )


def test_an_image_whose_bytes_went_bad_is_replaced_and_never_promoted_again(stage: Stage) -> None:
    stage.source("20260911")
    standing = stage.promoted("20260911", days=3)
    stage.rows.set_hash(standing, OTHER_HASH)
    report = stage.act("run-once")
    assert f"image {standing} is no longer what was published" in report["reasons"][0]
    assert (report["demoted"], len(stage.workshop.built)) == ([standing], 1)
    if not stage.gone(standing):
        assert "not what was built and verified" in stage.refused(
            "promote", "--yes", standing, exit_code=7
        )


def test_other_bytes_under_the_same_version_are_a_reason(stage: Stage) -> None:
    stage.source("20260911", file=stage.make_image("repaired.qcow2"))
    stage.promoted("20260911", days=3)
    assert stage.read("plan")["reasons"] == ["the bytes of source version 20260911 changed"]


def test_force_builds_what_is_current(stage: Stage) -> None:
    stage.source("20260911")
    standing = stage.promoted("20260911", days=3)
    assert stage.read("plan", "--force")["reasons"] == ["forced"]
    report = stage.act("run-once", "--force")
    assert (report["outcome"], report["demoted"]) == ("published", [standing])


class TestFailingBuild:
    """A build that fails is not tried every minute."""

    @pytest.fixture(autouse=True)
    def _a_build_that_fails(self, stage: Stage) -> None:
        stage.source("20260911")
        self.standing = stage.promoted("20260910", days=3)
        stage.workshop.build_error = BuildError("disk-image-create failed", hint="see build.log")

    def age_failure(self, stage: Stage, **ago: float) -> None:
        """Have the last failure be longer ago than it is."""
        path = stage.path("state") / "targets" / "default" / "failed-build.json"
        record = json.loads(path.read_text())
        record["last_at"] = (datetime.now(UTC) - timedelta(**ago)).isoformat()
        path.write_text(json.dumps(record))

    def waits(self, stage: Stage) -> Any:
        report = stage.act("run-once", exit_code=5)
        assert (report["outcome"], report["image_id"]) == ("waiting", self.standing)
        return report

    def test_waits_with_the_same_exit_code_and_says_until_when(self, stage: Stage) -> None:
        failed = stage.act("run-once", exit_code=5)
        assert (failed["outcome"], failed["error"]["code"]) == ("failed", "build")
        waiting = self.waits(stage)
        assert waiting["error"]["code"] == "build"
        assert "not tried again before" in waiting["error"]["message"]
        assert "disk-image-create failed" in waiting["error"]["message"]
        assert "--force" in waiting["error"]["hint"]
        assert len(stage.workshop.built) == 1
        plan = stage.read("plan")
        assert (plan["action"], plan["held_back_by"]["count"]) == ("wait", 1)
        failing = stage.read("status")["failing"]
        assert failing["run_id"] == failed["run_id"]
        wait = datetime.fromisoformat(failing["retry_at"]) - datetime.fromisoformat(
            failing["last_at"]
        )
        assert wait == timedelta(minutes=15)
        table = stage.retrofit("status").stdout
        assert f"tried again from {failing['retry_at']}" in table

    def test_is_tried_again_after_its_time_and_then_waits_twice_as_long(self, stage: Stage) -> None:
        stage.act("run-once", exit_code=5)
        self.age_failure(stage, minutes=16)
        assert stage.act("run-once", exit_code=5)["outcome"] == "failed"
        assert len(stage.workshop.built) == 2
        self.age_failure(stage, minutes=16)
        self.waits(stage)
        self.age_failure(stage, minutes=31)
        assert stage.act("run-once", exit_code=5)["outcome"] == "failed"

    def test_is_tried_at_once_by_force_and_forgotten_when_it_succeeds(self, stage: Stage) -> None:
        stage.act("run-once", exit_code=5)
        stage.workshop.build_error = None
        assert stage.act("run-once", "--force")["outcome"] == "published"
        assert stage.read("status")["failing"] is None

    def test_another_source_is_tried_at_once(self, stage: Stage) -> None:
        stage.act("run-once", exit_code=5)
        self.waits(stage)
        stage.source("20260912")
        stage.workshop.build_error = None
        report = stage.act("run-once")
        assert (report["outcome"], report["source"]["version"]) == ("published", "20260912")

    def test_another_recipe_is_tried_at_once(self, stage: Stage) -> None:
        stage.act("run-once", exit_code=5)
        stage.toml += '[build]\npackages = ["tcpdump"]\n'
        stage.workshop.build_error = None
        assert stage.act("run-once")["outcome"] == "published"

    def test_a_failed_verification_waits_as_well(self, stage: Stage) -> None:
        stage.workshop.build_error = None
        stage.workshop.failing_check = "lvs-masquerade.sh"
        stage.act("run-once", exit_code=6)
        waiting = stage.act("run-once", exit_code=6)
        assert (waiting["outcome"], waiting["error"]["code"]) == ("waiting", "verify")
        assert len(stage.workshop.built) == 1

    def test_another_machine_tries_for_itself(self, stage: Stage) -> None:
        stage.act("run-once", exit_code=5)
        stage.machine = "b"
        stage.workshop.build_error = None
        assert stage.act("run-once")["outcome"] == "published"
        stage.machine = "a"
        assert stage.act("run-once")["outcome"] == "unchanged"
