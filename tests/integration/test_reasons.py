"""Why a run builds, promotes, waits or does nothing, by what really stands in Glance."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retrofit.errors import BuildError
from tests.integration.harness import RETENTION_AT_ONCE, CloudHarness

OTHER_HASH = "0" * 128


@pytest.fixture
def element(harness: CloudHarness) -> Path:
    """A script of an element of the operator's own, which the configuration names."""
    script = harness.directory / "elements" / "site-motd" / "install.d" / "60-site-motd"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/bash\necho hello >/etc/motd\n")
    script.chmod(0o755)
    harness.toml = (
        f'{RETENTION_AT_ONCE}[build]\nelements = ["site-motd"]\n'
        f'element_paths = ["{harness.directory / "elements"}"]\n'
    )
    return script


def test_nothing_happens_while_source_and_recipe_are_what_is_promoted(
    harness: CloudHarness,
) -> None:
    harness.source("20260911")
    standing = harness.promoted("20260911", days=3)
    before = harness.everything()
    report = harness.act("run-once")
    assert (report["outcome"], report["image_id"]) == ("unchanged", standing)
    assert "is promoted and current" in report["reasons"][0]
    assert harness.everything() == before
    assert harness.read("plan")["action"] == "none"


def test_a_newer_source_is_a_reason(harness: CloudHarness) -> None:
    harness.source("20260911.10")
    standing = harness.promoted("20260911.9", days=3)
    plan = harness.read("plan")
    assert (plan["action"], plan["demote"]) == ("build", [standing])
    report = harness.act("run-once")
    assert report["reasons"] == plan["reasons"]
    assert report["reasons"] == ["new source version 20260911.10 (was 20260911.9)"]
    assert (report["demoted"], report["source"]["version"]) == ([standing], "20260911.10")


def test_an_older_source_is_no_reason_and_is_said(harness: CloudHarness) -> None:
    harness.source("20260911")
    standing = harness.promoted("20260912", days=3)
    report = harness.act("run-once")
    assert (report["outcome"], report["image_id"]) == ("unchanged", standing)
    assert any("check that the synchroniser runs" in note for note in report["notes"])


def test_a_changed_element_builds_and_changed_back_promotes_what_there_was(
    harness: CloudHarness, element: Path
) -> None:
    harness.source("20260911")
    first = harness.act("run-once")["image_id"]
    was = element.read_text()
    element.write_text("#!/bin/bash\necho good evening >/etc/motd\n")
    second = harness.act("run-once")
    assert second["reasons"][0].startswith("recipe changed from sha256:")
    assert (second["demoted"], len(harness.fake_builder.built)) == ([first], 2)
    element.write_text(was)
    third = harness.act("run-once")
    assert third["image_id"] == first
    assert "was already built and verified from this source and recipe" in third["reasons"][-1]
    assert (third["demoted"], len(harness.fake_builder.built)) == ([second["image_id"]], 2)
    assert harness.act("run-once")["outcome"] == "unchanged"


def test_a_run_bit_that_an_element_lost_is_a_changed_recipe(
    harness: CloudHarness, element: Path
) -> None:
    harness.source("20260911")
    harness.act("run-once")
    element.chmod(0o644)
    assert harness.read("plan")["reasons"][0].startswith("recipe changed")


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
    harness: CloudHarness, build: str, action: str
) -> None:
    harness.source("20260911")
    harness.promoted("20260911", days=3)
    harness.toml = f"[build]\n{build}\n"
    plan = harness.retrofit("plan", "-o", "json").document
    assert plan["action"] == action
    assert all(reason.startswith("recipe changed") for reason in plan["reasons"])


def test_an_image_that_grew_too_old_is_built_anew(harness: CloudHarness) -> None:
    harness.source("20260911")
    standing = harness.promoted("20260911", days=30.1)
    harness.toml = f"{RETENTION_AT_ONCE}[build]\nmax_age = 31\n"
    assert harness.read("plan")["action"] == "none"
    harness.toml = f"{RETENTION_AT_ONCE}[build]\nmax_age = 30\n"
    report = harness.act("run-once")
    assert (report["outcome"], report["demoted"]) == ("published", [standing])
    assert "is older than 30 days (build.max_age)" in report["reasons"][0]
    assert harness.act("run-once")["outcome"] == "unchanged"


def test_a_promoted_image_that_somebody_deleted_is_built_again(harness: CloudHarness) -> None:
    harness.source("20260911")
    harness.client.images.delete(harness.promoted("20260911", days=3))
    former = harness.former("20260910", days=9)
    assert harness.octavia() is None
    report = harness.act("run-once")
    # At once the one that is there, and then a build as after any other release.
    assert report["reasons"] == [
        f"Octavia found no image: {former} is the newest that works and may be promoted",
        "new source version 20260911 (was 20260910)",
    ]
    assert report["promoted"] == [former, report["image_id"]]
    assert len(harness.fake_builder.built) == 1


def test_a_deactivated_image_is_built_again_and_said_to_be_deactivated(
    harness: CloudHarness,
) -> None:
    harness.source("20260911")
    standing = harness.promoted("20260911", days=3)
    harness.client.images.deactivate(standing)
    assert harness.octavia() is None
    report = harness.act("run-once")
    assert (report["outcome"], len(harness.fake_builder.built)) == ("published", 1)
    assert (
        f"image {standing} carries the tag but is deactivated: Octavia cannot use it"
        in report["reasons"]
    )


def test_an_image_whose_bytes_went_bad_is_replaced_and_never_promoted_again(
    harness: CloudHarness,
) -> None:
    harness.source("20260911")
    standing = harness.promoted("20260911", days=3)
    harness.rows.set_hash(standing, OTHER_HASH)
    report = harness.act("run-once")
    assert f"image {standing} is no longer what was published" in report["reasons"][0]
    assert (report["demoted"], len(harness.fake_builder.built)) == ([standing], 1)
    if not harness.gone(standing):
        assert "not what was built and verified" in harness.refused(
            "promote", "--yes", standing, exit_code=7
        )


def test_other_bytes_under_the_same_version_are_a_reason(harness: CloudHarness) -> None:
    harness.source("20260911", file=harness.make_image("repaired.qcow2"))
    harness.promoted("20260911", days=3)
    assert harness.read("plan")["reasons"] == ["the bytes of source version 20260911 changed"]


def test_force_builds_what_is_current(harness: CloudHarness) -> None:
    harness.source("20260911")
    standing = harness.promoted("20260911", days=3)
    assert harness.read("plan", "--force")["reasons"] == ["forced"]
    report = harness.act("run-once", "--force")
    assert (report["outcome"], report["demoted"]) == ("published", [standing])


class TestFailingBuild:
    """A build that fails is not tried every minute."""

    @pytest.fixture(autouse=True)
    def _a_build_that_fails(self, harness: CloudHarness) -> None:
        harness.source("20260911")
        self.standing = harness.promoted("20260910", days=3)
        harness.fake_builder.build_error = BuildError(
            "disk-image-create failed", hint="see build.log"
        )

    def age_failure(self, harness: CloudHarness, **ago: float) -> None:
        """Have the last failure be longer ago than it is."""
        path = harness.path("state") / "targets" / "default" / "failed-build.json"
        record = json.loads(path.read_text())
        record["last_at"] = (datetime.now(UTC) - timedelta(**ago)).isoformat()
        path.write_text(json.dumps(record))

    def waits(self, harness: CloudHarness) -> Any:
        report = harness.act("run-once", exit_code=5)
        assert (report["outcome"], report["image_id"]) == ("backoff", self.standing)
        return report

    def test_waits_with_the_same_exit_code_and_says_until_when(self, harness: CloudHarness) -> None:
        failed = harness.act("run-once", exit_code=5)
        assert (failed["outcome"], failed["error"]["code"]) == ("failed", "build")
        waiting = self.waits(harness)
        assert waiting["error"]["code"] == "build"
        assert "not tried again before" in waiting["error"]["message"]
        assert "disk-image-create failed" in waiting["error"]["message"]
        assert "--force" in waiting["error"]["hint"]
        assert len(harness.fake_builder.built) == 1
        plan = harness.read("plan")
        assert (plan["action"], plan["held_back_by"]["count"]) == ("wait", 1)
        failing = harness.read("status")["failing"]
        assert failing["run_id"] == failed["run_id"]
        wait = datetime.fromisoformat(failing["retry_at"]) - datetime.fromisoformat(
            failing["last_at"]
        )
        assert wait == timedelta(minutes=15)
        table = harness.retrofit("status").stdout
        assert f"tried again from {failing['retry_at']}" in table

    @pytest.mark.slow
    def test_is_tried_again_after_its_time_and_then_waits_twice_as_long(
        self, harness: CloudHarness
    ) -> None:
        harness.act("run-once", exit_code=5)
        self.age_failure(harness, minutes=16)
        assert harness.act("run-once", exit_code=5)["outcome"] == "failed"
        assert len(harness.fake_builder.built) == 2
        self.age_failure(harness, minutes=16)
        self.waits(harness)
        self.age_failure(harness, minutes=31)
        assert harness.act("run-once", exit_code=5)["outcome"] == "failed"

    @pytest.mark.slow
    def test_is_tried_at_once_by_force_and_forgotten_when_it_succeeds(
        self, harness: CloudHarness
    ) -> None:
        harness.act("run-once", exit_code=5)
        harness.fake_builder.build_error = None
        assert harness.act("run-once", "--force")["outcome"] == "published"
        assert harness.read("status")["failing"] is None

    def test_another_source_is_tried_at_once(self, harness: CloudHarness) -> None:
        harness.act("run-once", exit_code=5)
        self.waits(harness)
        harness.source("20260912")
        harness.fake_builder.build_error = None
        report = harness.act("run-once")
        assert (report["outcome"], report["source"]["version"]) == ("published", "20260912")

    def test_another_recipe_is_tried_at_once(self, harness: CloudHarness) -> None:
        harness.act("run-once", exit_code=5)
        harness.toml += '[build]\npackages = ["tcpdump"]\n'
        harness.fake_builder.build_error = None
        assert harness.act("run-once")["outcome"] == "published"

    def test_a_failed_verification_waits_as_well(self, harness: CloudHarness) -> None:
        harness.fake_builder.build_error = None
        harness.fake_builder.failing_check = "lvs-masquerade.sh"
        harness.act("run-once", exit_code=6)
        waiting = harness.act("run-once", exit_code=6)
        assert (waiting["outcome"], waiting["error"]["code"]) == ("backoff", "verify")
        assert len(harness.fake_builder.built) == 1

    def test_another_machine_tries_for_itself(self, harness: CloudHarness) -> None:
        harness.act("run-once", exit_code=5)
        harness.machine = "b"
        harness.fake_builder.build_error = None
        assert harness.act("run-once")["outcome"] == "published"
        harness.machine = "a"
        assert harness.act("run-once")["outcome"] == "unchanged"
