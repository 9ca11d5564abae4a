"""Whole runs against a real Keystone and Glance; only our two workers are recording fakes."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retrofit.cloud import Glance
from retrofit.config import CloudSettings as Cloud
from retrofit.config import PathSettings, PublishSettings, Settings, Target
from retrofit.errors import BuildError
from retrofit.model import BuiltImage, Verdict
from retrofit.pipeline import run_once
from retrofit.report import RunReport
from tests.devcloud.server_config import Limits
from tests.integration.workshop import Workshop

TAG = "octavia-amphora"


@pytest.fixture
def workshop(tiny_image: Callable[..., Path]) -> Workshop:
    return Workshop(tiny_image)


@pytest.fixture
def settings(devcloud: Any, clean_glance: None, tmp_path: Path) -> Settings:
    return settings_for(devcloud, tmp_path)


def settings_for(devcloud: Any, tmp_path: Path) -> Settings:
    target = Target(
        cloud=Cloud(name=devcloud.cloud, clouds_yaml=devcloud.clouds_yaml),
        publish=PublishSettings(keep=2, retire_after=0, retire_unasked_after=0),
    )
    paths = PathSettings(
        state=tmp_path / "state",
        cache=tmp_path / "cache",
        work=tmp_path / "work",
        logs=tmp_path / "logs",
    )
    return Settings(targets=(target,), paths=paths)


@pytest.fixture
def run(settings: Settings, workshop: Workshop) -> Callable[..., RunReport]:
    def once(**options: Any) -> RunReport:
        return run_once(
            settings.targets[0], settings, build=workshop.build, verify=workshop.verify, **options
        )

    return once


@pytest.fixture
def add_source(
    devcloud: Any, tiny_image: Callable[..., Path], tmp_path: Path
) -> Callable[..., str]:
    def add(version: str, *, site: Any = devcloud, **changed: str) -> str:
        glance = site.glance(site.cloud)
        properties = {
            "product_name": "com.ubuntu.cloud:server:24.04:amd64",
            "version_name": version,
            "item_name": "disk1.img",
            "os_distro": "ubuntu",
            "os_version": "24.04",
            "architecture": "x86_64",
            **changed,
        }
        record = glance.images.create(
            name=f"auto-sync/ubuntu-noble-24.04-amd64-server-{version}-disk1.img",
            disk_format="qcow2",
            container_format="bare",
            **properties,
        )
        path = tiny_image(tmp_path / f"{version}.qcow2")
        with path.open("rb") as file:
            glance.images.upload(record.id, file, image_size=path.stat().st_size)
        return str(record.id)

    return add


@pytest.fixture
def glance(devcloud: Any, settings: Settings) -> Glance:
    return Glance.connect(settings.targets[0].cloud)


def amphorae(glance: Glance) -> list[Any]:
    return glance.list({"retrofit_target": "default"})


def nothing_left(settings: Settings) -> bool:
    return not any((settings.paths.work / "default").iterdir())


def test_what_a_run_printed_that_died_in_its_build_is_masked(
    run: Callable[..., RunReport], add_source: Callable[..., str], settings: Settings
) -> None:
    add_source("20260911")
    dead = "20260101T000000Z-aabbcc"
    (settings.paths.work / "default" / dead).mkdir(parents=True)
    log_file = settings.paths.logs / dead / "build.log"
    log_file.parent.mkdir(parents=True)
    log_file.write_text("Get:1 http://user:secret@mirror/debian index\n")
    assert run().outcome == "published"
    assert log_file.read_text() == "Get:1 http://***@mirror/debian index\n"


def test_publishes_an_image_that_says_where_it_came_from(
    run: Any, add_source: Any, glance: Glance, settings: Settings, workshop: Workshop
) -> None:
    source_id = add_source("20260911")
    report = run()
    assert (report.outcome, report.error, report.exit_code) == ("published", None, 0)
    (image,) = amphorae(glance)
    assert [image.id] == report.promoted == [report.image_id]
    assert image.name == "amphora-haproxy-x86_64-ubuntu-24.04-20260911"
    assert image.tags == {TAG}
    assert (image.status, image.min_disk, image.hidden) == ("active", 3, False)
    expected = {
        "source_product_name": "com.ubuntu.cloud:server:24.04:amd64",
        "source_version_name": "20260911",
        "retrofit_source_id": source_id,
        "retrofit_run_id": report.run_id,
        "retrofit_target": "default",
        "retrofit_verification": "offline",
        "haproxy_version": "2.8.5",
        "os_distro": "ubuntu",
        "os_version": "24.04",
        "architecture": "x86_64",
    }
    assert expected.items() <= image.properties.items()
    assert image.properties["retrofit_image_hash"] == f"sha512:{image.hash_value}"
    assert image.properties["retrofit_source_hash"].startswith("sha512:")
    assert "content_id" not in image.properties
    assert glance.octavia_takes(TAG).id == image.id
    assert nothing_left(settings)
    assert [name for name, _ in report.steps] == [
        "plan", "sweep", "preflight", "fetch", "build", "verify", "upload",
        "promote", "demote", "retire",
    ]  # fmt: skip


def test_does_nothing_when_there_is_nothing_to_do(
    run: Any, add_source: Any, glance: Glance, workshop: Workshop
) -> None:
    add_source("20260911")
    first = run()
    second = run()
    assert (second.outcome, second.exit_code, second.promoted) == ("unchanged", 0, [])
    assert second.image_id == first.image_id
    assert "is promoted and current" in second.reasons[0]
    assert len(workshop.built) == 1
    assert len(amphorae(glance)) == 1


def test_rotates_without_a_moment_of_nothing_promoted(
    run: Any, add_source: Any, glance: Glance, devcloud: Any
) -> None:
    add_source("20260911.9")
    first = run().image_id
    seen: list[str | None] = []
    stop = threading.Event()
    watcher = Glance.connect(Cloud(name=devcloud.cloud, clouds_yaml=devcloud.clouds_yaml))

    def poll() -> None:
        while not stop.is_set():
            taken = watcher.octavia_takes(TAG)
            seen.append(taken.id if taken else None)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        add_source("20260911.10")
        second = run()
        add_source("20260912")
        third = run()
    finally:
        stop.set()
        thread.join()
    assert second.demoted == [first]
    assert second.retired == []
    assert third.demoted == [second.image_id]
    assert third.retired == [first]
    assert len(seen) > 5
    assert None not in seen
    left = {image.id: image for image in amphorae(glance)}
    assert set(left) == {second.image_id, third.image_id}
    assert left[second.image_id].hidden
    assert left[second.image_id].tags == frozenset()
    assert glance.octavia_takes(TAG).id == third.image_id


@pytest.mark.parametrize(
    ("sabotage", "code"),
    [("build", 5), ("verify", 6), ("interrupt", 130), ("bug", 1)],
)
def test_keeps_the_promoted_image_when_a_run_fails(
    run: Any,
    add_source: Any,
    glance: Glance,
    settings: Settings,
    workshop: Workshop,
    sabotage: str,
    code: int,
) -> None:
    add_source("20260911")
    standing = run().image_id
    add_source("20260912")
    if sabotage == "verify":
        workshop.failing_check = "lvs-masquerade.sh"
    else:
        workshop.build_error = {
            "build": BuildError("disk-image-create failed"),
            "interrupt": KeyboardInterrupt(),
            "bug": ZeroDivisionError("ours"),
        }[sabotage]
    report = run()
    assert (report.outcome, report.exit_code) == ("failed", code)
    assert glance.octavia_takes(TAG).id == standing
    assert [image.id for image in amphorae(glance)] == [standing]
    assert nothing_left(settings)
    if sabotage == "verify":
        assert "lvs-masquerade.sh: not there" in report.error.message


@pytest.mark.parametrize("phase", ["downloading the source", "building", "uploading the image"])
def test_leaves_nothing_half_made_when_interrupted_in_a_phase(
    run: Any, add_source: Any, glance: Glance, settings: Settings, workshop: Workshop, phase: str
) -> None:
    add_source("20260911")
    standing = run().image_id
    add_source("20260912")

    def interrupt(phrase: str, fraction: float | None) -> None:
        if phrase == phase:
            raise KeyboardInterrupt

    if phase == "building":
        workshop.build_error = KeyboardInterrupt()
    report = run(progress=interrupt)
    assert (report.outcome, report.exit_code) == ("failed", 130)
    assert report.error.hint
    assert [image.id for image in amphorae(glance)] == [standing]
    assert glance.octavia_takes(TAG).id == standing
    assert nothing_left(settings)
    workshop.build_error = None
    assert run().outcome == "published"


@pytest.mark.parametrize("step", ["create", "tag", "untag", "update", "delete"])
def test_interrupted_right_after_a_write_the_next_run_ends_in_the_same_state(
    run: Any, add_source: Any, glance: Glance, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("20260909", "20260910"):
        add_source(version)
        run()
    add_source("20260911")
    with monkeypatch.context() as patched:
        original = getattr(Glance, step)

        def act_and_stop(self: Glance, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            raise KeyboardInterrupt

        patched.setattr(Glance, step, act_and_stop)
        assert run().exit_code == 130
    assert {image.status for image in amphorae(glance)} == {"active"}
    assert glance.octavia_takes(TAG) is not None
    run()
    left = amphorae(glance)
    assert {image.status for image in left} == {"active"}
    assert len(left) == 2
    (promoted,) = [image for image in left if TAG in image.tags]
    assert promoted.property("source_version_name") == "20260911"
    assert glance.octavia_takes(TAG).id == promoted.id


def test_says_what_was_looked_for_when_there_is_no_source(run: Any, add_source: Any) -> None:
    add_source("20260911", product_name="com.ubuntu.cloud:server:20.04:amd64")
    report = run()
    assert report.exit_code == 4
    assert "looked for series noble, jammy" in report.error.message
    assert "release 20.04 is not in source.series" in report.error.message


def test_ignores_a_tenants_look_alike(
    run: Any, add_source: Any, devcloud: Any, tiny_image: Any, tmp_path: Path
) -> None:
    tenant = devcloud.glance(devcloud.tenant_cloud)
    planted = tenant.images.create(
        name="auto-sync/ubuntu-noble-24.04-amd64-server-20990101-disk1.img",
        disk_format="qcow2",
        container_format="bare",
        visibility="shared",
        product_name="com.ubuntu.cloud:server:24.04:amd64",
        version_name="20990101",
        os_distro="ubuntu",
        architecture="x86_64",
    )
    with tiny_image(tmp_path / "planted.qcow2").open("rb") as file:
        tenant.images.upload(planted.id, file)
    wanted = add_source("20260911")
    assert run().source.image.id == wanted


def test_chooses_once_more_when_the_source_vanishes_during_its_download(
    run: Any, add_source: Any, devcloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = add_source("20260910"), add_source("20260911")
    original = Glance.download

    def download_of_what_is_just_deleted(self: Glance, image: Any, *args: Any) -> Any:
        if image.id == newer:
            devcloud.glance(devcloud.cloud).images.delete(newer)
        return original(self, image, *args)

    monkeypatch.setattr(Glance, "download", download_of_what_is_just_deleted)
    report = run()
    assert (report.outcome, report.source.image.id) == ("published", older)
    assert any("vanished; chosen once more" in note for note in report.notes)


STEPS_TO_DIE_AFTER = ["create", "upload", "tag", "untag", "update", "delete"]


@pytest.mark.parametrize("step", STEPS_TO_DIE_AFTER)
def test_a_run_killed_at_any_write_is_healed_by_the_next(
    run: Any,
    add_source: Any,
    glance: Glance,
    settings: Settings,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for version in ("20260909", "20260910"):
        add_source(version)
        run()
    add_source("20260911")
    child = os.fork()
    if child == 0:
        original = getattr(Glance, step)

        def act_and_die(self: Glance, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            os._exit(137)

        monkeypatch.setattr(Glance, step, act_and_die)
        run()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
    assert glance.octavia_takes(TAG) is not None
    run()
    left = amphorae(glance)
    assert {image.status for image in left} == {"active"}
    assert len(left) == 2
    (promoted,) = [image for image in left if TAG in image.tags]
    assert promoted.property("source_version_name") == "20260911"
    assert promoted.property("retrofit_promoted_at")
    assert all(image.hidden for image in left if image.id != promoted.id)
    assert glance.octavia_takes(TAG).id == promoted.id
    assert nothing_left(settings)
    assert run().outcome == "unchanged"


def test_a_second_run_of_the_target_is_told_that_it_is_busy(
    run: Any, add_source: Any, workshop: Workshop, settings: Settings
) -> None:
    add_source("20260911")
    inner: list[RunReport] = []
    build = workshop.build

    def build_while_another_tries(source: Path, **asked: Any) -> BuiltImage:
        inner.append(run_once(settings.targets[0], settings, build=build, verify=workshop.verify))
        return build(source, **asked)

    outer = run_once(
        settings.targets[0],
        settings,
        build=build_while_another_tries,
        verify=workshop.verify,
    )
    assert (inner[0].outcome, inner[0].exit_code) == ("busy", 75)
    assert outer.outcome == "published"


@pytest.fixture
def outage(devcloud: Any) -> Iterator[Outage]:
    outage = Outage(devcloud)
    yield outage
    outage.end()


class Outage:
    """Glance is down from begin to end."""

    def __init__(self, devcloud: Any) -> None:
        self.devcloud = devcloud
        self.now = False

    def begin(self) -> None:
        self.devcloud.stop_glance()
        self.now = True

    def end(self) -> None:
        if self.now:
            self.devcloud.start_glance()
            self.now = False


def test_glance_gone_during_the_build_costs_nothing_but_the_run(
    run: Any,
    add_source: Any,
    workshop: Workshop,
    glance: Glance,
    outage: Outage,
    settings: Settings,
) -> None:
    add_source("20260911")
    standing = run().image_id
    add_source("20260912")
    verify = workshop.verify

    def verify_and_stop_glance(path: Path, **asked: Any) -> Verdict:
        outage.begin()
        return verify(path, **asked)

    report = run_once(
        settings.targets[0], settings, build=workshop.build, verify=verify_and_stop_glance
    )
    assert (report.outcome, report.exit_code) == ("failed", 3)
    assert report.error.hint
    outage.end()
    assert glance.octavia_takes(TAG).id == standing
    assert run().outcome == "published"
    assert {image.status for image in amphorae(glance)} == {"active"}


def test_takes_whatever_hash_glance_is_configured_to_keep(
    devcloud_with: Any, add_source: Any, workshop: Workshop, tmp_path: Path
) -> None:
    site = devcloud_with(Limits(extra_glance="[DEFAULT]\nhashing_algorithm = sha256\n"))
    settings = settings_for(site, tmp_path)
    add_source("20260911", site=site)
    workers = {"build": workshop.build, "verify": workshop.verify}
    first = run_once(settings.targets[0], settings, **workers)
    assert (first.outcome, first.error) == ("published", None)
    image = Glance.connect(settings.targets[0].cloud).get(first.image_id)
    assert image.property("retrofit_image_hash") == f"sha256:{image.hash_value}"
    assert run_once(settings.targets[0], settings, **workers).outcome == "unchanged"


@pytest.mark.parametrize("algorithm", ["sha512", "sha256"])
def test_publishes_nothing_but_the_bytes_that_were_built_and_verified(
    devcloud_with: Any, add_source: Any, workshop: Workshop, tmp_path: Path, algorithm: str
) -> None:
    site = devcloud_with(Limits(extra_glance=f"[DEFAULT]\nhashing_algorithm = {algorithm}\n"))
    settings = settings_for(site, tmp_path)
    add_source("20260911", site=site)
    verify = workshop.verify

    def verify_what_changes_then(path: Path, **asked: Any) -> Verdict:
        verdict = verify(path, **asked)
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        return verdict

    report = run_once(
        settings.targets[0], settings, build=workshop.build, verify=verify_what_changes_then
    )
    assert (report.outcome, report.exit_code) == ("failed", 7)
    assert "has changed since it was built and verified" in report.error.message
    assert amphorae(Glance.connect(settings.targets[0].cloud)) == []


def test_leaves_no_record_of_an_image_that_glance_refuses(
    devcloud_with: Any, add_source: Any, workshop: Workshop, tmp_path: Path
) -> None:
    site = devcloud_with(Limits(image_size_cap=2 << 20))
    settings = settings_for(site, tmp_path)
    add_source("20260911", site=site)

    def too_large(path: Path) -> Path:
        noise = path.with_suffix(".raw")
        noise.write_bytes(os.urandom(4 << 20))
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", noise, path]
        subprocess.run(convert, check=True)
        return path

    workshop.make_image = too_large
    report = run_once(settings.targets[0], settings, build=workshop.build, verify=workshop.verify)
    assert (report.outcome, report.exit_code) == ("failed", 7)
    assert "413" in report.error.message
    assert amphorae(Glance.connect(settings.targets[0].cloud)) == []
