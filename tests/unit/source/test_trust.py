"""How far a source is trusted, and what is refused at which level."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import Target
from retrofit.errors import MirrorError, SourceError
from retrofit.model import Image, Source, StreamItem
from retrofit.trust import Offer, Trust, Vouched, require_same, vouched
from tests.unit.streams import copy_of, item, listing

ENTRY = item()
TROUBLE = Offer(trouble=MirrorError("the mirror is down", hint="wait"))


def source_of(image: Image) -> Source:
    return Source(
        image=image,
        product=image.properties["product_name"],
        version=image.properties["version_name"],
        os_distro="ubuntu",
        os_version="24.04",
        architecture="x86_64",
    )


def source_from(entry: StreamItem) -> Source:
    return Source(
        item=entry,
        product=entry.product,
        version=entry.version,
        os_distro="ubuntu",
        os_version="24.04",
        architecture="x86_64",
    )


@pytest.fixture
def keyring(tmp_path: Path) -> Path:
    path = tmp_path / "keyring.gpg"
    path.write_bytes(b"keys")
    return path


@pytest.fixture
def signed(keyring: Path) -> dict[str, Any]:
    """Settings that allow the strongest level."""
    return {"url": "https://mirror.example.test/", "keyring": keyring}


def target(trust: str = "auto", mirror: dict[str, Any] | None = None, **source: Any) -> Target:
    return Target(source={"trust": trust, **source}, mirror=mirror or {})


def refusal(source: Source, target: Target, offer: Offer) -> str:
    with pytest.raises(SourceError) as caught:
        vouched(source, target, offer)
    assert caught.value.exit_code == 4
    assert caught.value.hint
    return caught.value.message


def test_a_copy_of_a_signed_entry_is_vouched_for_by_it(signed: dict[str, Any]) -> None:
    for trust in ("auto", "signed"):
        found = vouched(
            source_of(copy_of(ENTRY)), target(trust, signed), Offer(listing=listing(ENTRY))
        )
        assert found.level is Trust.SIGNED
        assert found.hashes == {"sha256": ENTRY.sha256, "md5": ENTRY.md5}
        assert found.size == ENTRY.size


def test_without_a_mirror_auto_takes_the_digests_and_says_why_no_more() -> None:
    found = vouched(source_of(copy_of(ENTRY)), target(), Offer())
    assert (found.level, found.hashes["sha256"]) == (Trust.DIGEST, ENTRY.sha256)
    assert 'not "signed": mirror.url is not set' in found.note


def test_without_digests_either_auto_takes_the_owner_and_says_why_no_more() -> None:
    plain = copy_of(ENTRY, properties={"simplestreams_metadata": None})
    found = vouched(source_of(plain), target(), Offer())
    assert (found.level, found.hashes) == (Trust.OWNER, {})
    assert "no digests" in found.note
    assert "mirror.url is not set" in found.note


def test_auto_never_asks_less_because_the_mirror_is_out_of_reach(signed: dict[str, Any]) -> None:
    said = refusal(source_of(copy_of(ENTRY)), target("auto", signed), TROUBLE)
    assert said.endswith("the mirror is down")


def test_a_weaker_level_needs_no_mirror(signed: dict[str, Any]) -> None:
    for trust in ("owner", "digest"):
        assert vouched(source_of(copy_of(ENTRY)), target(trust, signed), TROUBLE).level == trust


@pytest.mark.parametrize("trust", ["auto", "signed"])
def test_refuses_a_version_that_the_signed_index_does_not_have(
    signed: dict[str, Any], trust: str
) -> None:
    made_up = copy_of(item("20991231"))
    said = refusal(source_of(made_up), target(trust, signed), Offer(listing=listing(ENTRY)))
    assert "has no disk1.img of com.ubuntu.cloud:server:24.04:amd64 20991231" in said


@pytest.mark.parametrize("trust", ["auto", "digest", "signed"])
def test_refuses_what_glance_itself_knows_to_be_other_bytes(
    signed: dict[str, Any], trust: str
) -> None:
    planted = copy_of(ENTRY, checksum="f" * 32)
    said = refusal(source_of(planted), target(trust, signed), Offer(listing=listing(ENTRY)))
    assert f"expected {ENTRY.md5}" in said


def test_refuses_forged_metadata_where_a_signature_is_asked_for(signed: dict[str, Any]) -> None:
    other = item("20260911", sha256="0" * 64, md5="0" * 32)
    forged = source_of(copy_of(other))
    offer = Offer(listing=listing(ENTRY))
    assert vouched(forged, target("digest", signed), offer).level is Trust.DIGEST
    assert f"expected {ENTRY.md5}" in refusal(forged, target("signed", signed), offer)


def test_another_item_of_the_same_version_does_not_vouch(signed: dict[str, Any]) -> None:
    offer = Offer(listing=listing(item(name="uefi1.img")))
    assert "has no disk1.img" in refusal(source_of(copy_of(ENTRY)), target("auto", signed), offer)


@pytest.mark.parametrize("trust", ["digest", "signed", "auto"])
def test_tells_a_converted_image_from_a_wrong_one(signed: dict[str, Any], trust: str) -> None:
    converted = copy_of(ENTRY, disk_format="raw", size=8 << 20, checksum="1" * 32)
    with pytest.raises(SourceError) as caught:
        vouched(source_of(converted), target(trust, signed), Offer(listing=listing(ENTRY)))
    assert "the synchroniser converted it" in caught.value.message
    assert "source.origin" in (caught.value.hint or "")


def test_without_a_mirror_a_converted_image_is_trusted_by_its_owner() -> None:
    converted = copy_of(ENTRY, disk_format="raw", size=8 << 20, checksum="1" * 32)
    found = vouched(source_of(converted), target(), Offer())
    assert found.level is Trust.OWNER
    assert "the synchroniser converted it" in found.note


def test_an_image_named_by_the_operator_may_be_older_than_the_mirror(
    signed: dict[str, Any],
) -> None:
    old = copy_of(item("20250101"))
    offer = Offer(listing=listing(ENTRY))
    found = vouched(source_of(old), target("auto", signed, image=old.id), offer)
    assert found.level is Trust.DIGEST
    assert "source.image names it" in found.note
    assert "has no disk1.img" in refusal(
        source_of(old), target("signed", signed, image=old.id), offer
    )


@pytest.mark.parametrize(
    "metadata",
    ["", "{", "[]", '"x"', '{"md5": 5}', '{"sha256": "zz"}', '{"md5": "", "size": "many"}'],
)
def test_refuses_metadata_that_vouches_for_nothing(metadata: str) -> None:
    plain = copy_of(ENTRY, properties={"simplestreams_metadata": metadata})
    said = refusal(source_of(plain), target("digest"), Offer())
    assert "simplestreams_metadata" in said


def test_an_unsigned_mirror_vouches_by_digest(keyring: Path) -> None:
    mirror = {"url": "file:///srv", "keyring": keyring, "allow_unsigned": True}
    offer = Offer(listing=listing(ENTRY, signed_by=None))
    found = vouched(source_of(copy_of(ENTRY)), target("auto", mirror), offer)
    assert (found.level, "the mirror is not signed" in found.note) == (Trust.DIGEST, True)
    assert "the mirror is not signed" in refusal(
        source_of(copy_of(ENTRY)), target("signed", mirror), offer
    )
    taken = vouched(source_from(ENTRY), target("auto", mirror, origin="simplestreams"), offer)
    assert taken.level is Trust.DIGEST


def test_an_item_of_a_signed_mirror_is_vouched_for_by_its_key(signed: dict[str, Any]) -> None:
    asked = target("auto", signed, origin="simplestreams")
    found = vouched(source_from(ENTRY), asked, Offer(listing=listing(ENTRY)))
    assert (found.level, "A" * 40 in found.note) == (Trust.SIGNED, True)


HASHES = {"sha256": "a" * 64, "md5": "b" * 32}


@pytest.mark.parametrize(
    ("hashes", "size", "said"),
    [
        ({**HASHES, "sha256": "c" * 64}, 10, "sha256 is cccc"),
        ({**HASHES, "md5": "c" * 32}, 10, "md5 is cccc"),
        (HASHES, 11, "it has 11 bytes, expected 10"),
    ],
)
def test_refuses_bytes_that_nobody_vouched_for(
    hashes: dict[str, str], size: int, said: str
) -> None:
    entry = Vouched(level=Trust.SIGNED, by="the index", note="", hashes=HASHES, size=10)
    with pytest.raises(SourceError, match=said):
        require_same(source_of(copy_of(ENTRY)), entry, hashes=hashes, size=size)
    require_same(source_of(copy_of(ENTRY)), entry, hashes=HASHES, size=10)


def test_metadata_is_what_the_synchroniser_writes() -> None:
    assert json.loads(copy_of(ENTRY).properties["simplestreams_metadata"])["size"] == "1000"
