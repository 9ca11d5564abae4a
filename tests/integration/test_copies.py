"""Copies of source images in a real Glance, as Cinder, replicators and people make them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.integration.harness import CloudHarness


@pytest.fixture
def stock(harness: CloudHarness, tmp_path: Path) -> Path:
    """The file of a source image as the stream has it."""
    return harness.make_image(tmp_path / "stock.qcow2")


def metadata(file: Path) -> str:
    """Return what the synchroniser records of it."""
    content = file.read_bytes()
    return json.dumps(
        {
            "ftype": "disk1.img",
            "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": str(len(content)),
        }
    )


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_a_servers_volume_with_all_properties_of_its_image_is_no_source(
    harness: CloudHarness, stock: Path, tmp_path: Path, disk_format: str
) -> None:
    true = harness.source("20260911", file=stock, simplestreams_metadata=metadata(stock))
    server = tmp_path / "server"
    # Its size is another as well, and for qcow2 Glance looks at the first bytes.
    server.write_bytes(stock.read_bytes() + b"\0" * (1 << 16))
    copy = harness.source(
        "20260911",
        file=server,
        disk_format=disk_format,
        name="jumphost-backup",
        simplestreams_metadata=metadata(stock),
    )
    planned = harness.retrofit("plan", "-o", "json").document
    assert (planned["source"]["id"], planned["trust"]["level"]) == (true, "digest")
    assert any(f"({copy}) is passed over" in note for note in planned["notes"])
    assert harness.act("run-once")["outcome"] == "published"
    assert harness.act("run-once")["outcome"] == "unchanged"


def test_an_image_that_was_saved_and_registered_again_replaces_nothing(
    harness: CloudHarness, stock: Path
) -> None:
    first = harness.source("20260911", file=stock, simplestreams_metadata=metadata(stock))
    harness.rows.set_created(first, harness.rows.created(first).replace(year=2025))
    harness.source("20260911", file=stock, simplestreams_metadata=metadata(stock))
    assert harness.retrofit("plan", "-o", "json").document["source"]["id"] == first


def test_an_odd_image_of_a_newer_version_ends_no_run(harness: CloudHarness, stock: Path) -> None:
    true = harness.source("20260911", file=stock, simplestreams_metadata=metadata(stock))
    other = json.dumps({**json.loads(metadata(stock)), "md5": "0" * 32})
    harness.source("20261231", file=stock, simplestreams_metadata=other)
    report = harness.act("run-once")
    assert (report["outcome"], report["source"]["id"]) == ("published", true)
    assert any("is passed over" in note for note in report["notes"])
