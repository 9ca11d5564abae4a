"""The judge sees what must not be, and is content with a run that went well."""

from __future__ import annotations

import subprocess

import pytest

from tests.faults.judge import before, healed, left, violations
from tests.faults.table import Cell, print_table
from tests.integration.stage import TAG, Stage
from tests.unit import disks


def test_is_content_with_a_run_without_faults(stage: Stage) -> None:
    stage.source("20260911.1")
    stage.promoted("20260801", days=10)
    stage.foreign(tags=["theirs"])
    was = before(stage)
    stage.act("run-once")
    assert stage.octavia() != was.promoted
    assert violations(stage, was) == []
    assert healed(stage, was) == []


def test_sees_images_that_must_not_be(stage: Stage) -> None:
    foreign = stage.source("20260911.1")
    old = stage.promoted("20260801", days=10)
    was = before(stage)
    unverified = stage.promoted(
        "20260911.1", retrofit_verified_at=None, retrofit_image_hash="sha512:0"
    )
    orphan = stage.amphora("20260911.1")
    stage.client.images.delete(foreign)
    stage.path("logs").mkdir(parents=True)
    stage.path("work").mkdir()
    (stage.path("work") / "source.qcow2").touch()
    stage.path("state").mkdir()
    (stage.path("state") / "failures.json").write_text("{")
    (stage.path("state") / "other.json.tmp").touch()
    said = "\n".join(healed(stage, was))
    assert f"{unverified} is promoted and was never verified" in said
    assert f"{unverified} is promoted and does not hold what its run built" in said
    assert f"{orphan} was never promoted" in said
    assert f"{foreign} is not ours and is gone" in said
    assert "2 images are promoted" in said
    assert "a file is left" in said
    assert "unreadable" in said
    assert "half-written" in said
    assert "tells of no run" in said
    for image_id in (old, unverified):
        stage.client.image_tags.delete(image_id, TAG)
    assert f"Octavia finds no image: {old} was promoted" in violations(stage, was)


def test_sees_what_is_left_on_the_machine_wherever_it_is(stage: Stage) -> None:
    work = stage.path("work") / "default"
    work.mkdir(parents=True)
    (stage.path("work") / ".shelf" / "1-abc").mkdir(parents=True)
    stage.path("tmp").mkdir()
    (stage.path("tmp") / "retrofit-gpgv.x").mkdir()
    assert len(left(stage)) == 2
    disk = work / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    device = disks.run("losetup", "--find", "--show", disk).strip()
    disk.unlink()
    hidden = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs left "$0" && echo && read end',
        work,
    ]
    with subprocess.Popen(hidden, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        said = "\n".join(left(stage))
        process.stdin.close()
    disks.run("losetup", "--detach", device)
    assert f"a process is left: {process.pid}: sh" in said
    assert f"a mount is left: {work} (mnt:[" in said
    assert f"a loop device is left: {device} of {disk} (deleted)" in said
    for name in ("work/.shelf/1-abc", "tmp/retrofit-gpgv.x"):
        assert f"a file is left: {stage.path(name)}" in said


def test_counts_cells_and_violations(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        [
            Cell(step="upload", fault="503", exit_code=7, ended="previous", violations=()),
            Cell(step="log in", fault="503", exit_code=0, ended="new", violations=()),
            Cell(step="log in", fault="cut", exit_code=None, ended="new", violations=("lost",)),
        ]
    )
    shown = capsys.readouterr().out
    assert "503  p n" in shown
    assert "cut  . X" in shown
    assert "violation: log in x cut: lost" in shown
    assert "3 cells, 1 violations" in shown
    assert "by exit code: 0: 1, 7: 1, none: 1" in shown
