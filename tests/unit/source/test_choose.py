from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.config import SourceSettings
from retrofit.errors import SourceError
from retrofit.model import Image, Rejection, Source, StreamItem, version_key
from retrofit.source.choose import SourceChoice, choose_item, choose_source
from tests.unit.images import NOW, OWN, amphora, synced
from tests.unit.streams import copy_of, item, listing


def choose(*images: Image, **settings: object) -> SourceChoice:
    return choose_source(images, SourceSettings(**settings), own_project=OWN)


def test_compares_versions_as_numbers() -> None:
    newest = synced("20260911.10")
    assert choose(synced("20260911.9"), newest, synced("20260911")).source.image is newest
    assert version_key("20260911.10") > version_key("20260911.9") > version_key("20260911")


def test_prefers_the_first_series_even_when_a_later_one_is_newer() -> None:
    noble = synced("20260101", release="24.04")
    jammy = synced("20260901", release="22.04")
    assert choose(noble, jammy, series=["noble", "jammy"]).source.image is noble
    assert choose(noble, jammy, series=["jammy", "noble"]).source.image is jammy


def test_takes_the_newest_version_of_any_stream_unless_one_is_configured() -> None:
    release = synced("20260911")
    old_daily = synced("20260801", id="daily", stream=".daily")
    assert choose(old_daily, release).source.image is release
    assert choose(old_daily, release, stream="daily").source.image is old_daily


def test_prefers_server_to_minimal_of_the_same_version() -> None:
    minimal = synced("20260911", id="zzz", variant="minimal")
    server = synced("20260911", id="aaa")
    assert choose(minimal, server, variants=["server", "minimal"]).source.image is server
    assert choose(minimal, server, variants=["minimal", "server"]).source.image is minimal


def test_takes_the_disk_among_the_items_of_one_version() -> None:
    disk = synced(item="disk1.img")
    chosen = choose(synced(item="squashfs"), disk, synced(item="root.tar.xz"))
    assert chosen.source.image is disk
    assert [no.reason for no in chosen.rejected] == [
        "item root.tar.xz is not a whole disk",
        "item squashfs is not a whole disk",
    ]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (synced(owner="tenant"), "its owner tenant is not trusted (source.owners)"),
        (synced(status="queued"), 'status is "queued", expected "active"'),
        (
            synced(properties={"product_name": None}),
            "it has no product_name and version_name (yet)",
        ),
        (
            synced(properties={"version_name": None}),
            "it has no product_name and version_name (yet)",
        ),
        (synced(properties={"product_name": "x:y"}), "product x:y is not an Ubuntu server product"),
        (synced(arch="arm64"), "architecture is arm64"),
        (synced(release="20.04"), "release 20.04 is not in source.series"),
        (synced(variant="minimal"), "variant minimal is not in source.variants"),
        (synced(disk_format="vmdk"), "disk format is vmdk, expected qcow2 or raw"),
        (
            synced(properties={"hypervisor_type": "lxc"}),
            "it is a container image (hypervisor_type lxc)",
        ),
        (amphora(1), "it is an amphora image"),
        (synced(properties={"retrofit_target": "default"}), "it is an amphora image"),
        (
            synced(properties={"architecture": "aarch64"}),
            "its property architecture is aarch64, which contradicts its product",
        ),
    ],
)
def test_passes_over_what_cannot_be_used_and_says_why(image: Image, reason: str) -> None:
    chosen = choose(image)
    assert chosen.source is None
    assert [no.reason for no in chosen.rejected] == [reason]


def test_trusts_configured_owners() -> None:
    image = synced(owner="sync-project")
    assert choose(image, owners=["sync-project"]).source.image is image


def test_says_what_was_looked_for_and_what_exists_when_nothing_fits() -> None:
    refusal = choose(synced(release="20.04"), series=["noble"]).refusal()
    assert "looked for series noble; architecture x86_64" in refusal.message
    assert "release 20.04 is not in source.series" in refusal.message
    assert refusal.exit_code == 4


def test_accepts_an_explicit_image_without_the_synchronisers_marks() -> None:
    image = synced(properties=dict.fromkeys(("product_name", "version_name", "item_name")))
    source = choose(synced("20990101"), image, image=image.id).source
    assert source.image is image
    assert (source.product, source.version) == ("custom", f"{image.created_at:%Y%m%d}")


def test_an_explicit_image_is_what_its_properties_say() -> None:
    image = synced("20260801", release="22.04", properties={"os_distro": "debian"})
    chosen = choose(image, image=image.id, series=["noble"], architecture="x86_64")
    assert chosen == SourceChoice(
        source=Source(
            image=image,
            product="com.ubuntu.cloud:server:22.04:amd64",
            version="20260801",
            os_distro="debian",
            os_version="22.04",
            architecture="x86_64",
        ),
        rejected=(),
        wanted=f"image {image.id}",
    )


@pytest.mark.parametrize("series", ["noble", "jammy"])
def test_an_explicit_image_without_properties_is_what_the_settings_say(series: str) -> None:
    bare = synced(properties=dict.fromkeys(synced().properties))
    assert bare.properties == {}
    chosen = choose(bare, image=bare.id, series=[series], architecture="aarch64")
    assert chosen.source == Source(
        image=bare,
        product="custom",
        version=f"{bare.created_at:%Y%m%d}",
        os_distro="ubuntu",
        os_version={"noble": "24.04", "jammy": "22.04"}[series],
        architecture="aarch64",
    )


def test_the_product_of_an_explicit_image_says_its_release() -> None:
    without = dict.fromkeys(("os_version", "architecture"))
    image = synced(release="22.04", properties=without)
    source = choose(image, image=image.id).source
    assert source is not None
    assert (source.os_version, source.architecture) == ("22.04", "x86_64")


def test_the_release_of_an_explicit_image_is_its_own() -> None:
    image = synced(release="22.04", properties={"os_version": "24.04"})
    source = choose(image, image=image.id).source
    assert source is not None
    assert source.os_version == "24.04"


def test_the_architecture_of_an_explicit_image_is_its_own() -> None:
    image = synced(arch="arm64", properties={"architecture": "aarch64"})
    source = choose(image, image=image.id).source
    assert source is not None
    assert source.architecture == "aarch64"


def test_a_refusal_lists_twenty_images_and_counts_the_others() -> None:
    images = [synced(f"202601{day:02}", release="20.04") for day in range(1, 23)]
    lines = choose(*images, series=["noble"]).refusal().message.splitlines()
    assert lines[0] == (
        "no usable source image: looked for series noble; architecture x86_64; variant server;"
        " found"
    )
    assert lines[1] == (
        "  auto-sync/ubuntu-20.04-20260101-disk1.img (source-20.04-20260101-disk1.img):"
        " release 20.04 is not in source.series"
    )
    assert len(lines) == 22
    assert lines[-1] == "  and 2 more"
    assert choose(*images[:20], series=["noble"]).refusal().message.count("\n") == 20
    assert choose(*images[:21], series=["noble"]).refusal().message.endswith("\n  and 1 more")


def test_a_refusal_of_nothing_says_that_there_is_nothing() -> None:
    refusal = choose(series=["noble"], stream="daily").refusal()
    assert refusal.message == (
        "no usable source image: looked for series noble; architecture x86_64; variant server;"
        " stream daily; found no Ubuntu image"
    )
    assert refusal.hint == (
        "let the simplestreams synchroniser fetch one of these series, or widen source.series,"
        " source.stream, source.variants or source.owners"
    )


def test_a_refusal_lists_every_variant() -> None:
    refusal = choose(variants=["server", "minimal"]).refusal()
    assert "variant server, minimal; found no" in refusal.message


def test_an_image_has_the_distribution_of_its_property() -> None:
    source = choose(synced(properties={"os_distro": "ubuntu-pro"})).source
    assert source is not None
    assert source.os_distro == "ubuntu-pro"


def test_an_image_without_item_is_the_usual_disk() -> None:
    usual = synced("20260911", id="a", properties={"item_name": None})
    other = synced("20260911", id="z", item="uefi1.img")
    assert choose(usual, other).source.image is usual


def test_an_image_without_name_is_listed_by_its_id() -> None:
    (rejected,) = choose(synced(id="f00d", name="", release="20.04")).rejected
    assert rejected.subject == "unnamed (f00d)"


def test_an_amphora_image_of_the_charm_is_no_source() -> None:
    image = synced(properties={"source_product_name": "com.ubuntu.cloud:server:24.04:amd64"})
    assert choose(image).rejected[0].reason == "it is an amphora image"


def test_an_image_without_distribution_is_one_of_ubuntu() -> None:
    image = synced(properties={"os_distro": None, "architecture": None})
    source = choose(image).source
    assert source is not None
    assert (source.os_distro, source.architecture) == ("ubuntu", "x86_64")


def test_a_refusal_is_the_error_where_nothing_could_be_read() -> None:
    error = SourceError("the mirror is down", hint="wait")
    assert SourceChoice(source=None, rejected=(), wanted="", error=error).refusal() is error


def test_refuses_an_explicit_image_that_is_no_disk() -> None:
    image = synced(disk_format="iso")
    chosen = choose(image, image=image.id)
    assert chosen.source is None
    reason = "disk format is iso, expected qcow2 or raw"
    assert chosen.rejected == (Rejection(subject=f"{image.name} ({image.id})", reason=reason),)


@given(st.randoms(use_true_random=False))
def test_order_of_the_listing_never_changes_the_choice(shuffler: random.Random) -> None:
    images = [
        synced(f"202609{day:02}.{part}", id=f"{day}-{part}-{age}", created_at=NOW - timedelta(age))
        for day in (1, 2)
        for part in (9, 10)
        for age in (1, 2)
    ]
    expected = choose(*images)
    shuffler.shuffle(images)
    assert choose(*images) == expected
    assert expected.source.image.id == "2-10-2"  # registered first: the other is a copy


def test_prefers_the_release_where_two_streams_have_the_same_version() -> None:
    daily = synced(stream=".daily", id="z", created_at=NOW)
    released = synced(id="a", created_at=NOW - timedelta(days=3))
    assert choose(daily, released).source.image.id == "a"


VERSIONS = st.sampled_from(["20260911", "20260911.9", "20260911.10", "20260912", "beta"])


@given(
    entries=st.lists(
        st.builds(
            item,
            VERSIONS,
            release=st.sampled_from(["20.04", "22.04", "24.04"]),
            stream=st.sampled_from(["", ".daily"]),
            variant=st.sampled_from(["server", "minimal"]),
            arch=st.sampled_from(["amd64", "arm64"]),
            name=st.sampled_from(["disk1.img", "uefi1.img"]),
        ),
        unique_by=lambda each: each.path + each.product,
    ),
    stream=st.sampled_from([None, "released", "daily"]),
    variants=st.sampled_from([("server",), ("minimal", "server")]),
)
def test_chooses_from_a_mirror_as_from_a_glance_that_has_all_of_it(
    entries: list[StreamItem], stream: Any, variants: Any
) -> None:
    settings = SourceSettings(stream=stream, variants=variants)
    images = [copy_of(entry, id=f"{entry.product}/{entry.path}") for entry in entries]
    there = choose_item(listing(*entries), settings).source
    here = choose_source(images, settings, own_project=OWN).source
    assert (there is None) == (here is None)
    if there is not None and here is not None:
        assert (there.product, there.version) == (here.product, here.version)
        assert there.item.name == here.image.property("item_name")
        assert (there.os_distro, there.os_version) == (here.os_distro, here.os_version)


def test_a_source_from_a_mirror_is_what_its_item_says() -> None:
    older, newer = item("20260910"), item("20260911", metadata={"os": "debian"})
    chosen = choose_item(listing(older, newer), SourceSettings(series=["noble"]))
    assert chosen.source == Source(
        item=newer,
        product="com.ubuntu.cloud:server:24.04:amd64",
        version="20260911",
        os_distro="debian",
        os_version="24.04",
        architecture="x86_64",
    )
    assert [no.reason for no in chosen.rejected] == ["20260911 is preferred"]
    bare = choose_item(listing(item(metadata={})), SourceSettings()).source
    assert bare is not None
    assert bare.os_distro == "ubuntu"


def test_the_disk_of_a_mirrors_version_is_preferred() -> None:
    uefi, disk = item(name="uefi1.img"), item(name="disk1.img")
    for order in ((uefi, disk), (disk, uefi)):
        chosen = choose_item(listing(*order), SourceSettings()).source
        assert chosen is not None
        assert chosen.item is disk


def test_refusals_of_a_mirror_are_kept() -> None:
    refused = Rejection(subject="com.ubuntu.cloud:server:24.04:arm64", reason="no size")
    offered = replace(listing(item(arch="arm64")), refused=(refused,))
    chosen = choose_item(offered, SourceSettings())
    assert chosen.source is None
    assert chosen.wanted == (
        "series noble, jammy; architecture x86_64; variant server; in https://mirror.example.test/"
    )
    assert chosen.rejected == (
        Rejection(subject=refused.subject, reason="architecture is arm64"),
        refused,
    )


def test_a_product_of_another_form_is_refused_by_its_name() -> None:
    odd = replace(item(), product="com.example:server")
    assert choose_item(listing(odd), SourceSettings()).rejected == (
        Rejection(
            subject="com.example:server",
            reason="product com.example:server is not an Ubuntu server product",
        ),
    )


def test_says_what_a_mirror_has_once_for_each_product() -> None:
    refusal = choose_item(
        listing(*(item(f"202609{day:02}", release="20.04") for day in range(1, 29))),
        SourceSettings(series=["noble"]),
    ).refusal()
    assert refusal.message.count("release 20.04 is not in source.series") == 1
    assert "in https://mirror.example.test/" in refusal.message
    assert "let the mirror carry" in (refusal.hint or "")


@pytest.mark.parametrize(
    "properties",
    [{"image_type": "snapshot"}, {"instance_uuid": "b0c1"}, {"base_image_ref": "f00d"}],
    ids=str,
)
def test_a_servers_snapshot_is_no_source_though_it_has_all_properties_of_one(
    properties: dict[str, str],
) -> None:
    snapshot = synced("20260912", id="snapshot", properties=properties)
    choice = choose(synced("20260911"), snapshot)
    assert choice.source is not None
    assert choice.source.version == "20260911"
    assert [no.reason for no in choice.rejected] == ["it is a snapshot of a server"]
