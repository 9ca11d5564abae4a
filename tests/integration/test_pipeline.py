"""Whole runs against a real Keystone and Glance; only our two workers are recording fakes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from retrofit.build.request import BuildRequest
from retrofit.cloud import Glance
from retrofit.errors import BuildError
from retrofit.model import BuiltImage, Verdict
from retrofit.runs.report import RunReport
from retrofit.verify.request import VerifyRequest
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.server_config import Limits
from tests.integration.harness import TAG, CloudHarness


def test_what_a_run_printed_that_died_in_its_build_is_masked(harness: CloudHarness) -> None:
    harness.source("20260911")
    dead = "20260101T000000Z-aabbcc"
    died_in = harness.path("work") / "default" / dead
    died_in.mkdir(parents=True)
    (died_in / ".lock").touch()
    log_file = harness.path("logs") / dead / "build.log"
    log_file.parent.mkdir(parents=True)
    log_file.write_text("Get:1 http://user:secret@mirror/debian index\n")
    assert harness.run().outcome == "published"
    assert log_file.read_text() == "Get:1 http://***@mirror/debian index\n"


def test_publishes_an_image_that_says_where_it_came_from(harness: CloudHarness) -> None:
    source_id = harness.source("20260911")
    report = harness.run()
    assert (report.outcome, report.error, report.exit_code) == ("published", None, 0)
    (image,) = harness.amphorae()
    assert [image.id] == report.promoted == [report.image_id]
    started = image.properties["retrofit_run_id"].partition("-")[0]
    assert image.name == f"amphora-haproxy-x86_64-ubuntu-24.04-20260911-{started}"
    assert image.tags == {TAG}
    assert (image.status, image.min_disk, image.hidden) == ("active", 3, False)
    expected = {
        "source_product_name": "com.ubuntu.cloud:server:24.04:amd64",
        "source_version_name": "20260911",
        "retrofit_source_id": source_id,
        "retrofit_run_id": report.run_id,
        "retrofit_target": "default",
        "retrofit_verification": "full-tcg",
        "haproxy_version": "2.8.5",
        "os_distro": "ubuntu",
        "os_version": "24.04",
        "architecture": "x86_64",
    }
    assert expected.items() <= image.properties.items()
    assert image.properties["retrofit_image_hash"] == f"sha512:{image.hash_value}"
    assert image.properties["retrofit_source_hash"].startswith("sha512:")
    assert "content_id" not in image.properties
    assert harness.octavia() == image.id
    assert harness.nothing_left()
    assert [name for name, _ in report.steps] == [
        "plan", "clean-up", "preflight", "fetch", "build", "verify", "upload",
        "promote", "demote", "retire",
    ]  # fmt: skip


def test_does_nothing_when_there_is_nothing_to_do(harness: CloudHarness) -> None:
    harness.source("20260911")
    first = harness.run()
    second = harness.run()
    assert (second.outcome, second.exit_code, second.promoted) == ("unchanged", 0, [])
    assert second.image_id == first.image_id
    assert "is promoted and current" in second.reasons[0]
    assert len(harness.fake_builder.built) == 1
    assert len(harness.amphorae()) == 1


def test_rotates_without_a_moment_of_nothing_promoted(harness: CloudHarness) -> None:
    harness.source("20260911.9")
    first = harness.run().image_id
    with harness.polled() as seen:
        harness.source("20260911.10")
        second = harness.run()
        harness.source("20260912")
        third = harness.run()
    assert second.demoted == [first]
    assert second.retired == []
    assert third.demoted == [second.image_id]
    assert third.retired == [first]
    assert len(seen) > 5
    assert None not in seen
    left = {image.id: image for image in harness.amphorae()}
    assert set(left) == {second.image_id, third.image_id}
    assert left[second.image_id].hidden
    assert left[second.image_id].tags == frozenset()
    assert harness.octavia() == third.image_id


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("sabotage", "code"),
    [("build", 5), ("verify", 6), ("interrupt", 130), ("bug", 1)],
)
def test_keeps_the_promoted_image_when_a_run_fails(
    harness: CloudHarness, sabotage: str, code: int
) -> None:
    harness.source("20260911")
    standing = harness.run().image_id
    harness.source("20260912")
    if sabotage == "verify":
        harness.fake_builder.failing_check = "lvs-masquerade.sh"
    else:
        harness.fake_builder.build_error = {
            "build": BuildError("disk-image-create failed"),
            "interrupt": KeyboardInterrupt(),
            "bug": ZeroDivisionError("ours"),
        }[sabotage]
    report = harness.run()
    outcome = "interrupted" if sabotage == "interrupt" else "failed"
    assert (report.outcome, report.exit_code) == (outcome, code)
    assert harness.octavia() == standing
    assert [image.id for image in harness.amphorae()] == [standing]
    assert harness.nothing_left()
    if sabotage == "verify":
        assert "lvs-masquerade.sh: not there" in report.error.message


@pytest.mark.sampled(1)
@pytest.mark.parametrize("phase", ["downloading the source", "building", "uploading the image"])
def test_leaves_nothing_half_made_when_interrupted_in_a_phase(
    harness: CloudHarness, phase: str
) -> None:
    harness.source("20260911")
    standing = harness.run().image_id
    harness.source("20260912")

    def interrupt(phrase: str, fraction: float | None) -> None:
        if phrase == phase:
            raise KeyboardInterrupt

    if phase == "building":
        harness.fake_builder.build_error = KeyboardInterrupt()
    report = harness.run(progress=interrupt)
    assert (report.outcome, report.exit_code) == ("interrupted", 130)
    assert report.error.hint
    assert [image.id for image in harness.amphorae()] == [standing]
    assert harness.octavia() == standing
    assert harness.nothing_left()
    harness.fake_builder.build_error = None
    assert harness.run().outcome == "published"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("step", ["create", "tag", "untag", "update", "delete"])
def test_interrupted_right_after_a_write_the_next_run_ends_in_the_same_state(
    harness: CloudHarness, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("20260909", "20260910"):
        harness.source(version)
        harness.run()
    harness.source("20260911")
    with monkeypatch.context() as patched:
        original = getattr(Glance, step)

        def act_and_stop(self: Glance, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            raise KeyboardInterrupt

        patched.setattr(Glance, step, act_and_stop)
        assert harness.run().exit_code == 130
    assert {image.status for image in harness.amphorae()} == {"active"}
    assert harness.octavia() is not None
    harness.run()
    left = harness.amphorae()
    assert {image.status for image in left} == {"active"}
    assert len(left) == 2
    (promoted,) = [image for image in left if TAG in image.tags]
    assert promoted.property("source_version_name") == "20260911"
    assert harness.octavia() == promoted.id


def test_says_what_was_looked_for_when_there_is_no_source(harness: CloudHarness) -> None:
    harness.source("20260911", product="com.ubuntu.cloud:server:20.04:amd64")
    report = harness.run()
    assert report.exit_code == 4
    assert "looked for series noble, jammy" in report.error.message
    assert "release 20.04 is not in source.series" in report.error.message


def test_ignores_a_tenants_look_alike(harness: CloudHarness) -> None:
    harness.source("20990101", account=harness.site.tenant_cloud)
    wanted = harness.source("20260911")
    assert harness.run().source.image.id == wanted


def test_chooses_once_more_when_the_source_vanishes_during_its_download(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = harness.source("20260910"), harness.source("20260911")
    original = Glance.download

    def download_of_what_is_just_deleted(self: Glance, image: Any, *args: Any) -> Any:
        if image.id == newer:
            harness.client.images.delete(newer)
        return original(self, image, *args)

    monkeypatch.setattr(Glance, "download", download_of_what_is_just_deleted)
    report = harness.run()
    assert (report.outcome, report.source.image.id) == ("published", older)
    assert any("vanished; chosen once more" in note for note in report.notes)


STEPS_TO_DIE_AFTER = ["create", "upload", "tag", "untag", "update", "delete"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("step", STEPS_TO_DIE_AFTER)
def test_a_run_killed_at_any_write_is_healed_by_the_next(
    harness: CloudHarness, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("20260909", "20260910"):
        harness.source(version)
        harness.run()
    harness.source("20260911")
    child = os.fork()
    if child == 0:
        original = getattr(Glance, step)

        def act_and_die(self: Glance, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            os._exit(137)

        monkeypatch.setattr(Glance, step, act_and_die)
        harness.run()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
    assert harness.octavia() is not None
    harness.run()
    left = harness.amphorae()
    assert {image.status for image in left} == {"active"}
    assert len(left) == 2
    (promoted,) = [image for image in left if TAG in image.tags]
    assert promoted.property("source_version_name") == "20260911"
    assert promoted.property("retrofit_promoted_at")
    assert all(image.hidden for image in left if image.id != promoted.id)
    assert harness.octavia() == promoted.id
    assert harness.nothing_left()
    assert harness.run().outcome == "unchanged"


def test_a_second_run_of_the_target_is_told_that_it_is_busy(harness: CloudHarness) -> None:
    harness.source("20260911")
    inner: list[RunReport] = []
    build = harness.fake_builder.build

    def build_while_another_tries(request: BuildRequest) -> BuiltImage:
        inner.append(harness.run(build=build))
        return build(request)

    outer = harness.run(build=build_while_another_tries)
    assert (inner[0].outcome, inner[0].exit_code) == ("locked", 75)
    assert outer.outcome == "published"


@pytest.mark.slow
def test_glance_gone_during_the_build_costs_nothing_but_the_run(harness: CloudHarness) -> None:
    harness.source("20260911")
    standing = harness.run().image_id
    harness.source("20260912")
    verify = harness.fake_builder.verify

    def verify_and_stop_glance(request: VerifyRequest) -> Verdict:
        outage.enter_context(harness.site.without_glance())
        return verify(request)

    with ExitStack() as outage:
        report = harness.run(verify=verify_and_stop_glance)
    assert (report.outcome, report.exit_code) == ("failed", 3)
    assert report.error.hint
    assert harness.octavia() == standing
    assert harness.run().outcome == "published"
    assert {image.status for image in harness.amphorae()} == {"active"}


@pytest.mark.slow
def test_takes_whatever_hash_glance_is_configured_to_keep(
    devcloud_with: Callable[[Limits], Devcloud], harness_at: Callable[[Devcloud], CloudHarness]
) -> None:
    limits = Limits(extra_glance="[DEFAULT]\nhashing_algorithm = sha256\n")
    harness = harness_at(devcloud_with(limits))
    harness.source("20260911")
    first = harness.run()
    assert (first.outcome, first.error) == ("published", None)
    (image,) = harness.amphorae()
    assert image.id == first.image_id
    assert image.property("retrofit_image_hash") == f"sha256:{image.hash_value}"
    assert harness.run().outcome == "unchanged"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("algorithm", ["sha512", "sha256"])
def test_publishes_nothing_but_the_bytes_that_were_built_and_verified(
    devcloud_with: Callable[[Limits], Devcloud],
    harness_at: Callable[[Devcloud], CloudHarness],
    algorithm: str,
) -> None:
    limits = Limits(extra_glance=f"[DEFAULT]\nhashing_algorithm = {algorithm}\n")
    harness = harness_at(devcloud_with(limits))
    harness.source("20260911")
    verify = harness.fake_builder.verify

    def verify_what_changes_then(request: VerifyRequest) -> Verdict:
        verdict = verify(request)
        with request.image.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        return verdict

    report = harness.run(verify=verify_what_changes_then)
    assert (report.outcome, report.exit_code) == ("failed", 7)
    assert report.error is not None
    assert "has changed since it was built and verified" in report.error.message
    assert harness.amphorae() == []


def test_leaves_no_record_of_an_image_that_glance_refuses(
    devcloud_with: Callable[[Limits], Devcloud], harness_at: Callable[[Devcloud], CloudHarness]
) -> None:
    harness = harness_at(devcloud_with(Limits(image_size_cap=2 << 20)))
    harness.source("20260911")

    def too_large(path: Path) -> Path:
        noise = path.with_suffix(".raw")
        noise.write_bytes(os.urandom(4 << 20))
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", noise, path]
        subprocess.run(convert, check=True)
        return path

    harness.fake_builder.make_image = too_large
    report = harness.run()
    assert (report.outcome, report.exit_code) == ("failed", 7)
    assert report.error is not None
    assert "413" in report.error.message
    assert harness.amphorae() == []
