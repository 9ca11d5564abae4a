"""The invariants are violated by what must not be, and hold after a run that went well."""

from __future__ import annotations

import subprocess

import pytest

from tests.component import disks
from tests.faults.invariants import before, healed, left, violations
from tests.faults.table import Cell, print_table
from tests.integration.harness import TAG, CloudHarness


@pytest.mark.slow
def test_hold_after_a_run_without_faults(harness: CloudHarness) -> None:
    harness.source("20260911.1")
    harness.promoted("20260801", days=10)
    harness.foreign(tags=["theirs"])
    was = before(harness)
    harness.act("run-once")
    assert harness.octavia() != was.promoted
    assert violations(harness, was) == []
    assert healed(harness, was) == []


def test_sees_images_that_must_not_be(harness: CloudHarness) -> None:
    foreign = harness.source("20260911.1")
    old = harness.promoted("20260801", days=10)
    was = before(harness)
    unverified = harness.promoted(
        "20260911.1", retrofit_verified_at=None, retrofit_image_hash="sha512:0"
    )
    orphan = harness.amphora("20260911.1")
    harness.client.images.delete(foreign)
    harness.path("logs").mkdir(parents=True)
    harness.path("work").mkdir()
    (harness.path("work") / "source.qcow2").touch()
    harness.path("state").mkdir()
    (harness.path("state") / "failures.json").write_text("{")
    (harness.path("state") / "other.json.tmp").touch()
    said = "\n".join(healed(harness, was))
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
        harness.client.image_tags.delete(image_id, TAG)
    assert f"Octavia finds no image: {old} was promoted" in violations(harness, was)


def test_sees_what_is_left_on_the_machine_wherever_it_is(harness: CloudHarness) -> None:
    work = harness.path("work") / "default"
    work.mkdir(parents=True)
    (harness.path("work") / ".shared-builds" / "1-abc").mkdir(parents=True)
    harness.path("tmp").mkdir()
    (harness.path("tmp") / "retrofit-gpgv.x").mkdir()
    assert len(left(harness)) == 2
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
        said = "\n".join(left(harness))
        process.stdin.close()
    disks.run("losetup", "--detach", device)
    assert f"a process is left: {process.pid}: sh" in said
    assert f"a mount is left: {work} (mnt:[" in said
    assert f"a loop device is left: {device} of {disk} (deleted)" in said
    for name in ("work/.shared-builds/1-abc", "tmp/retrofit-gpgv.x"):
        assert f"a file is left: {harness.path(name)}" in said


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
