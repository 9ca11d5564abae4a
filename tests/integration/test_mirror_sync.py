"""The mirror looks like Ubuntu's to the real synchroniser, and Glance like a synced cloud."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.devcloud.fixtures import Devcloud
from tests.devcloud.mirror import Mirror, served
from tests.devcloud.places import DevcloudError
from tests.devcloud.sync import SyncError, filters_for, source_of, sync

# What Glance itself keeps about an image, and what the synchroniser of a real cloud adds.
OF_GLANCE = {
    "checksum", "container_format", "created_at", "disk_format", "file", "id", "min_disk",
    "min_ram", "name", "os_hash_algo", "os_hash_value", "os_hidden", "owner", "protected",
    "schema", "size", "status", "stores", "tags", "updated_at", "virtual_size", "visibility",
}  # fmt: skip
OF_SYNCHRONISER = {
    "architecture", "content_id", "item_name", "os_distro", "os_version", "product_name",
    "simplestreams_metadata", "source_content_id", "version_name",
}  # fmt: skip
METADATA = {
    "aliases", "arch", "ftype", "label", "md5", "os", "pubname", "release", "release_codename",
    "release_title", "sha256", "size", "support_eol", "supported", "version",
}  # fmt: skip

MakeMirror = Callable[[str], Mirror]
MakeImage = Callable[..., Path]


@pytest.fixture
def noble(mirror: MakeMirror, tiny_image: MakeImage) -> Mirror:
    """A mirror with one version of noble."""
    made = mirror("mirror")
    made.publish(tiny_image(), series="noble", serial="20260911")
    return made


def synced(cloud: Devcloud) -> dict[str, dict[str, Any]]:
    """Images by the name of their version."""
    return {image["version_name"]: image for image in cloud.images()}


def test_a_synced_image_has_the_properties_of_a_real_one(
    clean_glance: Devcloud, noble: Mirror, tiny_image: MakeImage
) -> None:
    clean_glance.sync(noble)
    (image,) = clean_glance.images(clean_glance.cloud)
    assert set(image) == OF_GLANCE | OF_SYNCHRONISER
    content = tiny_image().read_bytes()
    metadata = json.loads(image["simplestreams_metadata"])
    assert set(metadata) == METADATA
    assert metadata["sha256"] == hashlib.sha256(content).hexdigest()
    assert image["os_hash_value"] == hashlib.sha512(content).hexdigest()
    expected = {
        "name": "auto-sync/ubuntu-noble-24.04-amd64-server-20260911-disk1.img",
        "architecture": "x86_64",
        "content_id": "auto.sync",
        "item_name": "disk1.img",
        "os_distro": "ubuntu",
        "os_version": "24.04",
        "owner": clean_glance.project_id("services"),
        "product_name": "com.ubuntu.cloud:server:24.04:amd64",
        "size": len(content),
        "source_content_id": "com.ubuntu.cloud:released:download",
        "status": "active",
        "version_name": "20260911",
        "visibility": "public",
    }
    assert {name: image[name] for name in expected} == expected


def test_a_newer_serial_is_synced_beside_the_older_one(
    clean_glance: Devcloud, noble: Mirror, tiny_image: MakeImage
) -> None:
    clean_glance.sync(noble)
    before = synced(clean_glance)["20260911"]
    noble.publish(tiny_image(), series="noble", serial="20260918", touch=True)
    clean_glance.sync(noble)
    after = synced(clean_glance)
    assert set(after) == {"20260911", "20260918"}
    assert after["20260911"]["id"] == before["id"]
    assert after["20260911"]["os_hash_value"] != after["20260918"]["os_hash_value"]


def test_at_most_so_many_versions_stay(
    clean_glance: Devcloud, noble: Mirror, tiny_image: MakeImage
) -> None:
    clean_glance.sync(noble, most=1)
    noble.publish(tiny_image(), series="noble", serial="20260918", touch=True)
    clean_glance.sync(noble, most=1)
    assert set(synced(clean_glance)) == {"20260918"}


@pytest.mark.parametrize(
    ("keep", "expected"), [(False, {"20260918"}), (True, {"20260911", "20260918"})]
)
def test_a_withdrawn_version_stays_only_if_kept(
    clean_glance: Devcloud, noble: Mirror, tiny_image: MakeImage, keep: bool, expected: set[str]
) -> None:
    noble.publish(tiny_image(), series="noble", serial="20260918", touch=True)
    clean_glance.sync(noble, most=2, keep=keep)
    noble.withdraw(series="noble", serial="20260911")
    clean_glance.sync(noble, most=2, keep=keep)
    assert set(synced(clean_glance)) == expected


def test_a_daily_stream_has_products_of_its_own(
    clean_glance: Devcloud, noble: Mirror, tiny_image: MakeImage
) -> None:
    product = noble.publish(tiny_image(), series="noble", serial="20260912.1", stream="daily")
    assert product == "com.ubuntu.cloud.daily:server:24.04:amd64"
    clean_glance.sync(noble)
    daily = synced(clean_glance)["20260912.1"]
    assert daily["product_name"] == product
    assert daily["source_content_id"] == "com.ubuntu.cloud:daily:download"


def test_filters_choose_series_architecture_and_items(
    clean_glance: Devcloud, noble: Mirror, tiny_image: MakeImage
) -> None:
    noble.publish(tiny_image(), series="jammy", serial="20260815")
    noble.publish(tiny_image(), series="noble", serial="20260911", arch="arm64")
    clean_glance.sync(noble, filters=filters_for(series=["jammy"]))
    assert {image["os_version"] for image in clean_glance.images()} == {"22.04"}
    clean_glance.sync(
        noble, filters=filters_for(series=["noble"], arch="arm64", items=["disk1.img", "squashfs"])
    )
    arm = [image for image in clean_glance.images() if image["architecture"] == "aarch64"]
    assert {image["item_name"] for image in arm} == {"disk1.img", "squashfs"}


def test_a_mirror_signed_by_a_stranger_is_refused(
    clean_glance: Devcloud, noble: Mirror, mirror: MakeMirror, tiny_image: MakeImage
) -> None:
    stranger = mirror("stranger")
    stranger.publish(tiny_image(), series="noble", serial="20260911")
    with pytest.raises(SyncError, match="gpgv"):
        clean_glance.sync(noble, keyring=stranger.keyring)
    assert clean_glance.images() == []


def test_a_mirror_altered_after_signing_is_refused(clean_glance: Devcloud, noble: Mirror) -> None:
    products = noble.root / "streams/v1/com.ubuntu.cloud:released:download.sjson"
    products.write_text(products.read_text().replace("20260911", "20260912"))
    with pytest.raises(SyncError, match="gpgv"):
        clean_glance.sync(noble)
    assert clean_glance.images() == []


def test_an_image_that_is_not_what_was_signed_does_not_stay(
    clean_glance: Devcloud, noble: Mirror
) -> None:
    (disk,) = noble.root.glob("server/**/*.img")
    content = bytearray(disk.read_bytes())
    content[-1] ^= 1
    disk.unlink()
    disk.write_bytes(content)
    with pytest.raises(SyncError):
        clean_glance.sync(noble)
    assert clean_glance.images() == []


def test_a_mirror_can_be_synced_over_http(clean_glance: Devcloud, noble: Mirror) -> None:
    with served(noble) as url:
        sync(
            clean_glance.running,
            source=source_of(url),
            keyring=noble.keyring,
            filters=filters_for(series=["noble"]),
        )
    assert set(synced(clean_glance)) == {"20260911"}


def test_a_member_cannot_sync_public_images(clean_glance: Devcloud, noble: Mirror) -> None:
    with pytest.raises(SyncError, match=r"403|Forbidden"):
        clean_glance.sync(noble, account=clean_glance.cloud)


def test_filters_that_match_nothing_are_an_error(clean_glance: Devcloud, noble: Mirror) -> None:
    with pytest.raises(SyncError, match="nothing in"):
        clean_glance.sync(noble, filters=filters_for(series=["jammy"]))


def test_what_is_not_a_mirror_is_named(tmp_path: Path) -> None:
    with pytest.raises(DevcloudError, match="has no streams/v1"):
        source_of(tmp_path)


def test_publishing_shares_the_image_file_and_keeps_the_key_outside(
    noble: Mirror, tiny_image: MakeImage
) -> None:
    source = tiny_image("shared.qcow2")
    noble.publish(source, series="jammy", serial="20260815")
    (disk,) = noble.root.glob("server/releases/jammy/**/*.img")
    assert disk.samefile(source)
    private = [
        path
        for path in noble.root.rglob("*")
        if path.is_file() and b"PRIVATE KEY" in path.read_bytes()
    ]
    assert private == []
    assert noble.root.with_name(f"{noble.root.name}.key.asc").stat().st_mode & 0o077 == 0


def test_touching_alters_the_digest_and_nothing_a_machine_reads(
    noble: Mirror, tiny_image: MakeImage, tmp_path: Path
) -> None:
    source = tiny_image("source.qcow2", mark="original")
    before = source.read_bytes()
    noble.publish(source, series="jammy", serial="20260815", touch=True)
    (disk,) = noble.root.glob("server/releases/jammy/**/*.img")
    assert source.read_bytes() == before
    subprocess.run(["qemu-img", "check", "-q", str(disk)], check=True)
    raw = [tmp_path / "source.raw", tmp_path / "touched.raw"]
    for qcow2, plain in zip((source, disk), raw, strict=True):
        subprocess.run(["qemu-img", "convert", "-O", "raw", str(qcow2), str(plain)], check=True)
    first, second = (path.read_bytes() for path in raw)
    different = [
        at for at, (one, other) in enumerate(zip(first, second, strict=True)) if one != other
    ]
    assert different
    assert min(different) >= 34 * 512
    assert max(different) < 2048 * 512
