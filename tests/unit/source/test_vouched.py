"""Copies of source images, which carry all their properties, and other bytes."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from retrofit.config import MirrorSettings, SourceSettings, Target
from retrofit.model import Image
from retrofit.source.choose import choose_source
from retrofit.source.trust import MirrorState
from retrofit.source.vouched import VouchedChoice, vouched
from tests.unit.images import NOW, OWN, synced
from tests.unit.streams import copy_of, item, listing

ENTRY = item()
OLDER = item("20260801")
LATER, EARLIER = NOW - timedelta(hours=1), NOW - timedelta(days=30)
OTHER_BYTES: dict[str, Any] = {"checksum": "0" * 32, "size": 77, "hash_value": "other"}


def true(**fields: Any) -> Image:
    return copy_of(ENTRY, **{"id": "true", "created_at": NOW - timedelta(days=3), **fields})


def choose(*images: Image, trust: str = "auto", signed: bool = False) -> VouchedChoice:
    mirror = MirrorSettings(url="file:///srv", keyring=__file__) if signed else MirrorSettings()
    target = Target(source=SourceSettings.model_validate({"trust": trust}), mirror=mirror)
    state = MirrorState(listing=listing(ENTRY, OLDER)) if signed else MirrorState()
    return vouched(choose_source(images, target.source, own_project=OWN), target, state)


def chosen(choice: VouchedChoice) -> str:
    assert choice.choice.source is not None
    return choice.choice.source.id


@pytest.mark.parametrize("registered", [LATER, EARLIER], ids=["later", "earlier"])
@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_copy_with_other_bytes_is_passed_over(
    registered: Any, disk_format: str, signed: bool
) -> None:
    copy = true(id="copy", created_at=registered, disk_format=disk_format, **OTHER_BYTES)
    for images in ((true(), copy), (copy, true())):
        found = choose(*images, signed=signed)
        assert chosen(found) == "true"
        assert "(copy) is passed over" in found.warnings()[0]
        assert [no.subject for no in found.choice.rejected] == [f"{copy.name} (copy)"]


def test_auto_takes_the_sibling_with_digests() -> None:
    # A migration tool that leaves the metadata away; it was there first.
    bare = synced(id="bare", created_at=EARLIER, properties={"simplestreams_metadata": None})
    found = choose(bare, true())
    assert chosen(found) == "true"
    assert '"owner" alone' in found.warnings()[0]
    assert chosen(choose(bare)) == "bare"


def test_of_two_that_are_alike_the_first_registered_is_taken() -> None:
    # `openstack image save`, and a new image of the same bytes and properties.
    again = true(id="again", created_at=LATER)
    for trust in ("auto", "owner", "digest"):
        found = choose(again, true(), trust=trust)
        assert (chosen(found), found.warnings()) == ("true", ())


@pytest.mark.parametrize("trust", ["auto", "digest"])
def test_an_older_version_is_taken_where_the_newest_contradicts_its_digests(trust: str) -> None:
    odd = copy_of(item("20261231"), id="odd", **OTHER_BYTES)
    found = choose(odd, true(), trust=trust)
    assert chosen(found) == "true"
    assert "(odd) is passed over" in found.warnings()[0]


def test_one_that_the_signed_index_does_not_have_is_passed_over() -> None:
    odd = copy_of(item("20261231"), id="odd")
    assert chosen(choose(odd, true(), signed=True)) == "true"


def test_where_none_can_be_vouched_for_the_choice_stays_and_is_refused_later() -> None:
    odd = synced(id="odd", properties={"simplestreams_metadata": json.dumps({})})
    found = choose(odd, trust="digest")
    assert (chosen(found), found.warnings()) == ("odd", ())
