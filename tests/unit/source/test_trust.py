"""How far a source is trusted, and what is refused at which level."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import Target
from retrofit.errors import MirrorError, SourceError
from retrofit.model import Image, Source, StreamItem
from retrofit.source.trust import MirrorState, Provenance, Trust, establish_trust, require_same
from tests.unit.streams import copy_of, item, listing

ENTRY = item()
UNREAD = MirrorState(error=MirrorError("the mirror is down", hint="wait"))


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


def refusal(source: Source, target: Target, mirror: MirrorState) -> str:
    with pytest.raises(SourceError) as caught:
        establish_trust(source, target, mirror)
    assert caught.value.exit_code == 4
    assert caught.value.hint
    return caught.value.message


def test_a_copy_of_a_signed_entry_is_vouched_for_by_it(signed: dict[str, Any]) -> None:
    for trust in ("auto", "signed"):
        found = establish_trust(
            source_of(copy_of(ENTRY)), target(trust, signed), MirrorState(listing=listing(ENTRY))
        )
        assert found.level is Trust.SIGNED
        assert found.hashes == {"sha256": ENTRY.sha256, "md5": ENTRY.md5}
        assert found.size == ENTRY.size


def test_without_a_mirror_auto_takes_the_digests_and_says_why_no_more() -> None:
    found = establish_trust(source_of(copy_of(ENTRY)), target(), MirrorState())
    assert (found.level, found.hashes["sha256"]) == (Trust.DIGEST, ENTRY.sha256)
    assert 'not "signed": mirror.url is not set' in found.note


def test_without_digests_either_auto_takes_the_owner_and_says_why_no_more() -> None:
    plain = copy_of(ENTRY, properties={"simplestreams_metadata": None})
    found = establish_trust(source_of(plain), target(), MirrorState())
    assert (found.level, found.hashes) == (Trust.OWNER, {})
    assert "no digests" in found.note
    assert "mirror.url is not set" in found.note


def test_auto_never_asks_less_because_the_mirror_is_out_of_reach(signed: dict[str, Any]) -> None:
    said = refusal(source_of(copy_of(ENTRY)), target("auto", signed), UNREAD)
    assert said.endswith("the mirror is down")


def test_a_weaker_level_needs_no_mirror(signed: dict[str, Any]) -> None:
    for trust in ("owner", "digest"):
        assert (
            establish_trust(source_of(copy_of(ENTRY)), target(trust, signed), UNREAD).level == trust
        )


@pytest.mark.parametrize("trust", ["auto", "signed"])
def test_refuses_a_version_that_the_signed_index_does_not_have(
    signed: dict[str, Any], trust: str
) -> None:
    made_up = copy_of(item("20991231"))
    said = refusal(source_of(made_up), target(trust, signed), MirrorState(listing=listing(ENTRY)))
    assert "has no disk1.img of com.ubuntu.cloud:server:24.04:amd64 20991231" in said


@pytest.mark.parametrize("trust", ["auto", "digest", "signed"])
def test_refuses_what_glance_itself_knows_to_be_other_bytes(
    signed: dict[str, Any], trust: str
) -> None:
    planted = copy_of(ENTRY, checksum="f" * 32)
    said = refusal(source_of(planted), target(trust, signed), MirrorState(listing=listing(ENTRY)))
    assert f"expected {ENTRY.md5}" in said


def test_refuses_forged_metadata_where_a_signature_is_asked_for(signed: dict[str, Any]) -> None:
    other = item("20260911", sha256="0" * 64, md5="0" * 32)
    forged = source_of(copy_of(other))
    mirror = MirrorState(listing=listing(ENTRY))
    assert establish_trust(forged, target("digest", signed), mirror).level is Trust.DIGEST
    assert f"expected {ENTRY.md5}" in refusal(forged, target("signed", signed), mirror)


def test_another_item_of_the_same_version_does_not_vouch(signed: dict[str, Any]) -> None:
    mirror = MirrorState(listing=listing(item(name="uefi1.img")))
    told = refusal(source_of(copy_of(ENTRY)), target("auto", signed), mirror)
    assert 'cannot be trusted as "signed": the signed index of' in told
    assert "has no disk1.img" in told


@pytest.mark.parametrize("trust", ["digest", "signed", "auto"])
def test_tells_a_converted_image_from_a_wrong_one(signed: dict[str, Any], trust: str) -> None:
    converted = copy_of(ENTRY, disk_format="raw", size=8 << 20, checksum="1" * 32)
    with pytest.raises(SourceError) as caught:
        establish_trust(
            source_of(converted), target(trust, signed), MirrorState(listing=listing(ENTRY))
        )
    assert "the synchroniser converted it" in caught.value.message
    assert "source.origin" in (caught.value.hint or "")


def test_without_a_mirror_a_converted_image_is_trusted_by_its_owner() -> None:
    converted = copy_of(ENTRY, disk_format="raw", size=8 << 20, checksum="1" * 32)
    found = establish_trust(source_of(converted), target(), MirrorState())
    assert found.level is Trust.OWNER
    assert "the synchroniser converted it" in found.note


def test_an_image_named_by_the_operator_may_be_older_than_the_mirror(
    signed: dict[str, Any],
) -> None:
    old = copy_of(item("20250101"))
    mirror = MirrorState(listing=listing(ENTRY))
    found = establish_trust(source_of(old), target("auto", signed, image=old.id), mirror)
    assert found.level is Trust.DIGEST
    assert "source.image names it" in found.note
    assert "has no disk1.img" in refusal(
        source_of(old), target("signed", signed, image=old.id), mirror
    )


@pytest.mark.parametrize(
    "metadata",
    ["", "{", "[]", '"x"', '{"md5": 5}', '{"sha256": "zz"}', '{"md5": "", "size": "many"}'],
)
def test_refuses_metadata_that_vouches_for_nothing(metadata: str) -> None:
    plain = copy_of(ENTRY, properties={"simplestreams_metadata": metadata})
    said = refusal(source_of(plain), target("digest"), MirrorState())
    assert "simplestreams_metadata" in said


def test_an_unsigned_mirror_vouches_by_digest(keyring: Path) -> None:
    unsigned = {"url": "file:///srv", "keyring": keyring, "allow_unsigned": True}
    mirror = MirrorState(listing=listing(ENTRY, signed_by=None))
    found = establish_trust(source_of(copy_of(ENTRY)), target("auto", unsigned), mirror)
    assert (found.level, "the mirror is not signed" in found.note) == (Trust.DIGEST, True)
    assert "the mirror is not signed" in refusal(
        source_of(copy_of(ENTRY)), target("signed", unsigned), mirror
    )
    taken = establish_trust(
        source_from(ENTRY), target("auto", unsigned, origin="simplestreams"), mirror
    )
    assert taken.level is Trust.DIGEST


def test_an_item_of_a_signed_mirror_is_vouched_for_by_its_key(signed: dict[str, Any]) -> None:
    asked = target("auto", signed, origin="simplestreams")
    found = establish_trust(source_from(ENTRY), asked, MirrorState(listing=listing(ENTRY)))
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
    entry = Provenance(level=Trust.SIGNED, by="the index", note="", hashes=HASHES, size=10)
    with pytest.raises(SourceError, match=said):
        require_same(source_of(copy_of(ENTRY)), entry, hashes=hashes, size=size)
    require_same(source_of(copy_of(ENTRY)), entry, hashes=HASHES, size=10)


def test_metadata_is_what_the_synchroniser_writes() -> None:
    assert json.loads(copy_of(ENTRY).properties["simplestreams_metadata"])["size"] == "1000"


def test_provenance_by_a_signed_index_is_given_in_full(signed: dict[str, Any]) -> None:
    found = establish_trust(
        source_of(copy_of(ENTRY)), target("signed", signed), MirrorState(listing=listing(ENTRY))
    )
    assert found == Provenance(
        level=Trust.SIGNED,
        by="com.ubuntu.cloud:server:24.04:amd64 20260911 in the signed index of"
        " https://mirror.example.test/",
        note='source trusted as "signed": the index of https://mirror.example.test/, key '
        + "A" * 40,
        hashes={"sha256": ENTRY.sha256, "md5": ENTRY.md5},
        size=1000,
    )


def test_provenance_by_a_mirror_is_given_in_full(signed: dict[str, Any]) -> None:
    asked = target("auto", signed, origin="simplestreams")
    where = "https://mirror.example.test/"
    mirror = MirrorState(listing=listing(ENTRY))
    assert establish_trust(source_from(ENTRY), asked, mirror) == Provenance(
        level=Trust.SIGNED,
        by=f"the signed index of {where}",
        note=f'source trusted as "signed": {where}, key {"A" * 40}',
    )
    unsigned = MirrorState(listing=listing(ENTRY, signed_by=None))
    assert establish_trust(source_from(ENTRY), asked, unsigned) == Provenance(
        level=Trust.DIGEST,
        by=f"the unsigned index of {where}",
        note=f'source trusted as "digest": the index of {where} is not signed'
        " (mirror.allow_unsigned)",
    )


def test_a_mirror_that_cannot_be_read_is_the_error(signed: dict[str, Any]) -> None:
    asked = target("auto", signed, origin="simplestreams")
    with pytest.raises(MirrorError) as caught:
        establish_trust(source_from(ENTRY), asked, UNREAD)
    assert caught.value is UNREAD.error
    with pytest.raises(SourceError, match=r"^no mirror was read$") as unset:
        establish_trust(source_from(ENTRY), asked, MirrorState())
    assert unset.value.hint == "set mirror.url"


def test_an_image_without_its_mirror_has_the_mirrors_error_and_hint(signed: dict[str, Any]) -> None:
    image = copy_of(ENTRY)
    start = f'source image {source_of(image).name} cannot be trusted as "signed": '
    for mirror, message, hint in (
        (UNREAD, "the mirror is down", "wait"),
        (MirrorState(), "no mirror was read", "set mirror.url"),
    ):
        with pytest.raises(SourceError) as caught:
            establish_trust(source_of(image), target("signed", signed), mirror)
        assert (caught.value.message, caught.value.hint) == (start + message, hint)
        assert caught.value.__cause__ is not None


def test_an_image_that_the_index_lacks_comes_with_the_way_out(signed: dict[str, Any]) -> None:
    image = copy_of(item("20991231"), properties={"item_name": None})
    with pytest.raises(SourceError) as caught:
        establish_trust(
            source_of(image), target("signed", signed), MirrorState(listing=listing(ENTRY))
        )
    assert caught.value.message == (
        f'source image {source_of(image).name} cannot be trusted as "signed": the signed index of'
        " https://mirror.example.test/ has no disk1.img of com.ubuntu.cloud:server:24.04:amd64"
        " 20991231"
    )
    assert caught.value.hint == (
        "if the mirror dropped this version, let the synchroniser fetch a current one; if it never"
        ' had it, the image is not from that mirror. source.trust = "digest" requires less'
    )


@pytest.mark.parametrize(
    "other",
    [item("20260910"), item(release="22.04"), item(name="uefi1.img")],
    ids=lambda entry: entry.path,
)
def test_an_entry_counts_only_for_its_own_product_version_and_item(
    signed: dict[str, Any], other: StreamItem
) -> None:
    mirror = MirrorState(listing=listing(other, ENTRY, other))
    found = establish_trust(source_of(copy_of(ENTRY)), target("signed", signed), mirror)
    assert found.hashes["sha256"] == ENTRY.sha256


def test_an_entry_may_have_no_md5(signed: dict[str, Any]) -> None:
    entry = item(md5=None)
    image = copy_of(ENTRY)
    mirror = MirrorState(listing=listing(entry))
    found = establish_trust(source_of(image), target("signed", signed), mirror)
    assert found.hashes == {"sha256": ENTRY.sha256}


def test_an_image_of_another_size_than_its_entry_is_refused(signed: dict[str, Any]) -> None:
    image = copy_of(ENTRY, size=1001)
    said = refusal(source_of(image), target("signed", signed), MirrorState(listing=listing(ENTRY)))
    assert said.endswith("it has 1001 bytes, expected 1000")


def test_a_size_that_glance_does_not_say_contradicts_nothing(signed: dict[str, Any]) -> None:
    image = copy_of(ENTRY, size=None)
    found = establish_trust(
        source_of(image), target("signed", signed), MirrorState(listing=listing(ENTRY))
    )
    assert found.size == 1000


def test_a_converted_image_comes_with_the_way_out(signed: dict[str, Any]) -> None:
    converted = copy_of(ENTRY, disk_format="raw", size=8 << 20, checksum="1" * 32)
    with pytest.raises(SourceError) as caught:
        establish_trust(
            source_of(converted), target("signed", signed), MirrorState(listing=listing(ENTRY))
        )
    assert caught.value.message == (
        f'source image {source_of(converted).name} cannot be trusted as "signed": it is raw, and'
        " disk1.img of the stream is qcow2: the synchroniser converted it, so that its bytes can"
        " match no digest of the stream"
    )
    assert caught.value.hint == (
        'synchronise without conversion to raw, or set source.origin = "simplestreams"; with'
        ' source.trust = "owner" only the owner of the image is trusted'
    )


def test_raw_by_name_alone_was_not_converted(signed: dict[str, Any]) -> None:
    image = copy_of(ENTRY, disk_format="raw")
    mirror = MirrorState(listing=listing(ENTRY))
    assert establish_trust(source_of(image), target("signed", signed), mirror).size == 1000
    other = item(ftype="root.tar.xz")
    converted = copy_of(ENTRY, disk_format="raw", checksum="1" * 32)
    said = refusal(
        source_of(converted), target("signed", signed), MirrorState(listing=listing(other))
    )
    assert "md5 is 1111" in said


def test_provenance_by_metadata_is_given_in_full() -> None:
    found = establish_trust(source_of(copy_of(ENTRY)), target("digest"), MirrorState())
    assert found == Provenance(
        level=Trust.DIGEST,
        by="its simplestreams_metadata",
        note='source trusted as "digest": the digests that the synchroniser recorded with it',
        hashes={"sha256": ENTRY.sha256, "md5": ENTRY.md5},
        size=1000,
    )
    auto = establish_trust(source_of(copy_of(ENTRY)), target(), MirrorState())
    assert auto == replace(found, note=found.note + '; not "signed": mirror.url is not set')


def test_digests_of_metadata_may_be_written_large() -> None:
    metadata = json.dumps({"sha512": "AB" * 64, "sha256": ENTRY.sha256.upper(), "md5": "A" * 31})
    image = copy_of(ENTRY, properties={"simplestreams_metadata": metadata}, hash_value=None)
    found = establish_trust(source_of(image), target("digest"), MirrorState())
    assert found.hashes == {"sha512": "ab" * 64, "sha256": ENTRY.sha256}
    assert found.size is None


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [("{", "cannot be read"), ("[]", "cannot be read"), ("{}", "has no digests")],
)
def test_metadata_that_says_nothing_comes_with_the_way_out(metadata: str, reason: str) -> None:
    image = copy_of(ENTRY, properties={"simplestreams_metadata": metadata})
    with pytest.raises(SourceError) as caught:
        establish_trust(source_of(image), target("digest"), MirrorState())
    assert caught.value.message == (
        f'source image {source_of(image).name} cannot be trusted as "digest":'
        f" its simplestreams_metadata {reason}"
    )
    assert caught.value.hint == (
        'let the synchroniser fetch the image again, or set source.trust = "owner"'
    )


def test_provenance_by_owner_is_given_in_full(signed: dict[str, Any]) -> None:
    image = copy_of(ENTRY)
    assert establish_trust(source_of(image), target("owner"), MirrorState()) == Provenance(
        level=Trust.OWNER,
        by="project own-project",
        note='source trusted as "owner", project own-project: source.trust requires no more',
    )


def test_signatures_need_an_address_a_keyring_and_a_signed_index(keyring: Path) -> None:
    image = source_of(copy_of(ENTRY))
    unsigned = {"url": "file:///srv", "allow_unsigned": True}
    mirror = MirrorState(listing=listing(ENTRY, signed_by=None))
    for settings, reason in (
        ({}, "mirror.url is not set"),
        (unsigned, "mirror.keyring is not set"),
        ({**unsigned, "keyring": keyring}, "the mirror is not signed (mirror.allow_unsigned)"),
    ):
        found = establish_trust(image, target("auto", settings), mirror)
        assert found.note.endswith(f'not "signed": {reason}')
    with pytest.raises(SourceError) as caught:
        establish_trust(image, target("signed", {**unsigned, "keyring": keyring}), mirror)
    assert caught.value.message.endswith(f'cannot be trusted as "signed": {reason}')
    assert caught.value.hint == "use a signed mirror, or lower source.trust"


def test_other_bytes_come_with_the_way_out() -> None:
    entry = Provenance(level=Trust.SIGNED, by="the index", note="", hashes=HASHES, size=10)
    source = source_of(copy_of(ENTRY))
    with pytest.raises(SourceError) as caught:
        require_same(source, entry, hashes={"md5": "c" * 32}, size=10)
    assert caught.value.message == (
        f"the bytes of source image {source.name} are not those of the index: md5 is {'c' * 32},"
        f" expected {'b' * 32}"
    )
    assert caught.value.hint == (
        "the image was replaced, or its copy is damaged: find out who made it, delete it, and let"
        " the synchroniser fetch it again; where the synchroniser itself changes images"
        ' (--modify-hook), set source.trust = "owner"'
    )


def test_the_item_of_an_image_is_the_one_that_it_names(signed: dict[str, Any]) -> None:
    uefi = item(name="uefi1.img")
    mirror = MirrorState(listing=listing(ENTRY, uefi))
    found = establish_trust(source_of(copy_of(uefi)), target("signed", signed), mirror)
    assert found.hashes["sha256"] == uefi.sha256


def test_another_size_alone_shows_a_conversion(signed: dict[str, Any]) -> None:
    bare = {"disk_format": "raw", "checksum": None, "hash_value": None}
    converted = copy_of(ENTRY, size=8 << 20, **bare)
    said = refusal(
        source_of(converted), target("signed", signed), MirrorState(listing=listing(ENTRY))
    )
    assert "the synchroniser converted it" in said
