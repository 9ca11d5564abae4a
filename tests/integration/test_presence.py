"""Bytes that a real Glance's store loses behind its back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.devcloud.fronts import Front
from tests.integration.harness import TAG, CloudHarness, days_ago

Loses = Callable[[Path], None]


def gone(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def overwritten(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-100] + b"\1" * 100)


def stored(harness: CloudHarness, image_id: str) -> Path:
    """The file of an image in Glance's store."""
    return harness.site.state / "glance" / "images" / image_id


def published(harness: CloudHarness) -> str:
    harness.source("20260911")
    report = harness.act("run-once")
    assert report["outcome"] == "published"
    return str(report["image_id"])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("loses", [gone, cut, emptied, overwritten])
def test_a_promoted_image_without_its_bytes_is_replaced(
    harness: CloudHarness, loses: Loses
) -> None:
    lost = published(harness)
    loses(stored(harness, lost))
    planned = harness.read("plan")
    assert planned["action"] == "build"
    assert planned["reasons"] == [f"the bytes of image {lost} in Glance are gone or damaged"]
    assert any("are not those that were verified" in note for note in planned["notes"])
    harness.fake_builder.failing_check = "haproxy"
    report = harness.act("run-once", exit_code=6)
    assert report["image_id"] == lost
    (row,) = [row for row in harness.read("list") if row["id"] == lost]
    assert row["state"] == "damaged"
    harness.fake_builder.failing_check = None
    report = harness.act("run-once", "--force")
    assert report["outcome"] == "published"
    assert report["image_id"] != lost
    assert harness.tagged() == {report["image_id"]}


def in_the_middle(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 10] = b"0123456789"
    file.write_bytes(content)


def large(harness: CloudHarness) -> None:
    """Let images have more than a first and a last block."""
    make = harness.make_image

    def padded(path: Path) -> Path:
        made = make(path)
        made.write_bytes(made.read_bytes() + b"\0" * (1 << 18))
        return made

    harness.fake_builder.make_image = padded


def test_all_bytes_are_read_at_the_interval(harness: CloudHarness) -> None:
    large(harness)
    lost = published(harness)
    in_the_middle(stored(harness, lost))
    assert harness.act("run-once")["outcome"] == "unchanged"
    harness.toml = '[publish]\nreread = "never"\n'
    harness.site.glance().images.update(lost, retrofit_read_at=days_ago(999).isoformat())
    assert harness.act("run-once")["outcome"] == "unchanged"
    harness.toml = ""
    assert harness.act("run-once")["outcome"] == "published"


def test_no_rollback_goes_to_an_image_whose_bytes_are_lost(harness: CloudHarness) -> None:
    large(harness)
    former = published(harness)
    harness.source("20260912")
    standing = harness.act("run-once")["image_id"]
    in_the_middle(stored(harness, former))
    failed = harness.act("rollback", "--yes", exit_code=7)
    assert "are not those that were verified" in failed["error"]["message"]
    assert harness.tagged() == {standing}


def test_an_image_of_0_1_0_is_read_whole_once(harness: CloudHarness) -> None:
    harness.source("20260911")
    standing = harness.promoted("20260911", days=3, retrofit_image_ends=None, retrofit_read_at=None)
    harness.act("run-once")
    shown = harness.image(standing)
    assert shown["retrofit_image_ends"].startswith("sha256:")
    assert shown["retrofit_read_at"]


def test_a_front_that_ignores_ranges_makes_no_image_damaged(
    harness: CloudHarness, tmp_path: Path
) -> None:
    large(harness)
    standing = published(harness)
    with Front(behind=harness.site.glance_url, without="range").serving() as front:
        document = yaml.safe_load(harness.site.clouds_yaml.read_text())
        for cloud in document["clouds"].values():
            cloud["image_endpoint_override"] = front.url
        clouds = tmp_path / "front.yaml"
        clouds.write_text(yaml.safe_dump(document))
        clouds.chmod(0o600)
        harness.clouds_yaml = clouds
        report = harness.act("run-once")
    assert (report["outcome"], report["image_id"]) == ("unchanged", standing)
    assert any("it is not known whether the bytes" in note for note in report["notes"])
    assert TAG in harness.image(standing)["tags"]
