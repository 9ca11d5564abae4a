"""Which stock image a build starts from, out of what Glance really lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retrofit.cloud import Glance
from tests.integration.harness import PRODUCT, TAG, CloudHarness

DAILY = "com.ubuntu.cloud.daily:server:24.04:amd64"
JAMMY = "com.ubuntu.cloud:server:22.04:amd64"
NO_DISK = Path(__file__)
MINIMAL = "com.ubuntu.cloud:minimal:24.04:amd64"


class Planned:
    """What `plan` says of the source, and of those that it passed over."""

    def __init__(self, document: Any) -> None:
        self.source: str = document["source"]["id"]
        self._rejected = document["rejected"]

    def reason_for(self, image_id: str) -> str:
        (reason,) = [no["reason"] for no in self._rejected if image_id in no["image"]]
        return str(reason)


def planned(harness: CloudHarness, toml: str = "") -> Planned:
    harness.toml = toml
    return Planned(harness.retrofit("plan", "-o", "json").document)


def test_the_tenth_serial_of_a_day_is_newer_than_the_ninth(harness: CloudHarness) -> None:
    tenth = harness.source("20260911.10")
    ninth = harness.source("20260911.9")
    plan = planned(harness)
    assert plan.source == tenth
    assert "is preferred" in plan.reason_for(ninth)


def test_plan_counts_what_it_passed_over_and_lists_it_when_asked(harness: CloudHarness) -> None:
    harness.source("20260911")
    passed_over = {
        harness.source("20260910"): "is preferred",
        harness.source("20260912", hypervisor_type="lxc"): "container image",
        harness.source("20260912", product=MINIMAL): "variant minimal",
    }
    brief = harness.retrofit("plan").stdout
    assert "3 images (-v lists them)" in brief
    assert not any(image_id in brief for image_id in passed_over)
    told = harness.retrofit("plan", "-v").stdout.splitlines()
    for image_id, reason in passed_over.items():
        assert any(image_id in line and reason in line for line in told)


def test_an_image_that_another_project_planted_is_no_source_even_for_an_admin(
    harness: CloudHarness,
) -> None:
    ours = harness.source("20260911")
    planted = harness.source("20990101", account=harness.site.tenant_cloud)
    harness.account = harness.site.sync_cloud
    listed = [image.id for image in harness.site.glance(harness.account).images.list()]
    assert planted in listed, "an admin sees it, so that only its owner speaks against it"
    assert planned(harness).source == ours


def test_an_image_of_a_project_that_is_named_as_trusted_is_a_source(harness: CloudHarness) -> None:
    ours = harness.source("20260911")
    theirs = harness.source("20260912", account=harness.site.admin_cloud, visibility="public")
    assert planned(harness).source == ours
    project = harness.site.project_id("admin")
    assert planned(harness, f'[source]\nowners = ["{project}"]\n').source == theirs


def test_the_newest_version_wins_whatever_its_stream(harness: CloudHarness) -> None:
    old_daily = harness.source("20260901", product=DAILY)
    release = harness.source("20260905")
    plan = planned(harness)
    assert plan.source == release
    assert "is preferred" in plan.reason_for(old_daily)
    new_daily = harness.source("20260911", product=DAILY)
    assert planned(harness).source == new_daily
    plan = planned(harness, '[source]\nstream = "released"\n')
    assert plan.source == release
    assert plan.reason_for(new_daily) == "stream is daily"


def test_of_several_items_of_one_version_the_whole_disk_is_taken(harness: CloudHarness) -> None:
    uefi = harness.source("20260911", item="uefi1.img")
    disk = harness.source("20260911", item="disk1.img")
    squashfs = harness.source("20260911", item="squashfs", disk_format="squashfs", file=NO_DISK)
    tree = harness.source("20260911", item="root.tar.xz", disk_format="root-tar", file=NO_DISK)
    plan = planned(harness)
    assert plan.source == disk
    assert "is preferred" in plan.reason_for(uefi)
    assert plan.reason_for(squashfs) == "item squashfs is not a whole disk"
    assert plan.reason_for(tree) == "item root.tar.xz is not a whole disk"


def test_an_image_without_item_name_is_judged_by_its_disk_format(harness: CloudHarness) -> None:
    disk = harness.source("20260910", item_name=None)
    squashfs = harness.source("20260911", item_name=None, disk_format="squashfs", file=NO_DISK)
    plan = planned(harness)
    assert plan.source == disk
    assert plan.reason_for(squashfs) == "disk format is squashfs, expected qcow2 or raw"


def test_series_are_tried_in_the_order_of_the_configuration(harness: CloudHarness) -> None:
    jammy = harness.source("20260912", product=JAMMY)
    noble = harness.source("20260911")
    assert planned(harness).source == noble
    assert planned(harness, '[source]\nseries = ["jammy", "noble"]\n').source == jammy
    plan = planned(harness, '[source]\nseries = ["jammy"]\n')
    assert plan.source == jammy
    assert plan.reason_for(noble) == "release 24.04 is not in source.series"


def test_a_new_lts_changes_nothing_until_it_is_allowed(harness: CloudHarness) -> None:
    noble = harness.source("20260911")
    newer = harness.source("20261001", product="com.ubuntu.cloud:server:26.04:amd64")
    plan = planned(harness)
    assert plan.source == noble
    assert plan.reason_for(newer) == "release 26.04 is not in source.series"
    assert planned(harness, '[source]\nseries = ["resolute", "noble"]\n').source == newer


def test_other_variants_than_server_are_for_those_who_name_them(harness: CloudHarness) -> None:
    server = harness.source("20260911")
    minimal = harness.source("20260911", product=MINIMAL)
    plan = planned(harness)
    assert plan.source == server
    assert plan.reason_for(minimal) == "variant minimal is not in source.variants"
    assert planned(harness, '[source]\nvariants = ["minimal", "server"]\n').source == minimal


def test_the_architecture_is_the_products_and_the_property_must_not_contradict(
    harness: CloudHarness,
) -> None:
    right = harness.source("20260910")
    arm = harness.source(
        "20260911", product="com.ubuntu.cloud:server:24.04:arm64", architecture="aarch64"
    )
    mislabelled = harness.source("20260912", architecture="aarch64")
    plan = planned(harness)
    assert plan.source == right
    assert plan.reason_for(arm) == "architecture is arm64"
    assert "aarch64" in plan.reason_for(mislabelled)


def test_an_image_without_architecture_property_is_what_its_product_says(
    harness: CloudHarness,
) -> None:
    unmarked = harness.source("20260911", architecture=None)
    assert planned(harness).source == unmarked


def test_a_container_image_is_no_source(harness: CloudHarness) -> None:
    disk = harness.source("20260910")
    container = harness.source("20260911", hypervisor_type="lxc")
    plan = planned(harness)
    assert plan.source == disk
    assert plan.reason_for(container) == "it is a container image (hypervisor_type lxc)"


def test_an_image_that_the_synchroniser_has_not_described_yet_is_not_yet_a_source(
    harness: CloudHarness,
) -> None:
    older = harness.source("20260910")
    fresh = harness.source("20260911", product_name=None, version_name=None)
    plan = planned(harness)
    assert plan.source == older
    assert plan.reason_for(fresh) == "it has no product_name and version_name (yet)"
    harness.client.images.update(
        fresh, product_name="com.ubuntu.cloud:server:24.04:amd64", version_name="20260911"
    )
    assert planned(harness).source == fresh


def test_an_image_that_is_still_being_uploaded_is_not_yet_a_source(harness: CloudHarness) -> None:
    older = harness.source("20260910")
    record = harness.client.images.create(
        name="auto-sync/ubuntu-noble-24.04-amd64-server-20260911-disk1.img",
        disk_format="qcow2",
        container_format="bare",
        product_name="com.ubuntu.cloud:server:24.04:amd64",
        version_name="20260911",
        os_distro="ubuntu",
        architecture="x86_64",
    )
    plan = planned(harness)
    assert plan.source == older
    assert plan.reason_for(record.id) == 'status is "queued", expected "active"'


def test_our_own_amphora_images_are_no_sources(harness: CloudHarness) -> None:
    stock = harness.source("20260910")
    amphora = harness.promoted("20260911")
    plan = planned(harness)
    assert plan.source == stock
    assert plan.reason_for(amphora) == "it is an amphora image"


def test_a_source_that_vanishes_during_its_download_is_chosen_once_more_and_not_twice(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [harness.source(version) for version in ("20260909", "20260910", "20260911")]
    standing = harness.promoted("20260901", days=9)
    download = Glance.download

    def after_it_was_deleted(self: Glance, image: Any, *rest: Any) -> None:
        harness.client.images.delete(image.id)
        download(self, image, *rest)

    monkeypatch.setattr(Glance, "download", after_it_was_deleted)
    report = harness.act("run-once", exit_code=4)
    assert report["error"]["code"] == "source"
    assert sources[1] in report["error"]["message"]
    assert [note for note in report["notes"] if sources[2] in note and "chosen once more" in note]
    assert report["image_id"] == standing
    assert not harness.fake_builder.built


def test_a_named_image_is_taken_as_it_is_and_called_custom(harness: CloudHarness) -> None:
    harness.source("20260911")
    own = harness.site.plant(harness.make_image("own.qcow2"), name="my golden image")
    harness.toml = f'[source]\nimage = "{own}"\n'
    source = harness.read("plan")["source"]
    assert (source["id"], source["product"]) == (own, "custom")
    assert source["version"] == harness.image(own).created_at[:10].replace("-", "")
    report = harness.act("run-once")
    assert harness.image(report["image_id"])["source_product_name"] == "custom"
    assert harness.act("run-once")["outcome"] == "unchanged"


@pytest.mark.parametrize("state", ["absent", "queued", "squashfs"])
def test_a_named_image_that_cannot_be_used_is_refused_by_its_id(
    harness: CloudHarness, state: str
) -> None:
    harness.source("20260911")
    named = "00000000-0000-4000-8000-000000000000"
    if state == "queued":
        named = harness.client.images.create(name="x", disk_format="qcow2").id
    elif state == "squashfs":
        named = harness.site.plant(NO_DISK, name="x", disk_format="squashfs")
    harness.toml = f'[source]\nimage = "{named}"\n'
    said = harness.refused("plan", exit_code=4)
    assert f"looked for image {named}" in said
    if state != "absent":
        assert state in said.split("found", 1)[1]


def test_without_a_source_it_says_what_was_looked_for_and_what_there_is(
    harness: CloudHarness,
) -> None:
    harness.source("20260911", product="com.ubuntu.cloud:server:20.04:amd64")
    said = harness.refused("plan", exit_code=4)
    assert "looked for series noble, jammy; architecture x86_64; variant server" in said
    assert "release 20.04 is not in source.series" in said


@pytest.mark.slow
def test_two_thousand_images_of_others_change_nothing(harness: CloudHarness) -> None:
    source = harness.source("20260911")
    standing = harness.promoted("20260910", days=1)
    harness.account = harness.site.sync_cloud
    tenant = harness.site.project_id("tenant")
    look = {"retrofit_target": "default", "os_distro": "ubuntu", "architecture": "x86_64"}
    theirs = harness.rows.add_images(
        2000,
        owner=tenant,
        properties={**look, "product_name": PRODUCT, "version_name": "20990101"},
        tags=(TAG,),
    )
    try:
        assert harness.octavia(owner=False) in theirs, "they are there, and newer than ours"
        plan = harness.retrofit("plan", "-o", "json").document
        assert (plan["source"]["id"], plan["promoted"]) == (source, standing)
        listed = harness.retrofit("list", "-o", "json").document
        assert [image["id"] for image in listed] == [standing]
        report = harness.act("run-once")
        assert (report["outcome"], report["demoted"]) == ("published", [standing])
        assert [note for note in report["notes"] if "set amp_image_owner_id" in note]
    finally:
        harness.rows.remove_images(theirs)
