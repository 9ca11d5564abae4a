"""What is taken from the files of a mirror, and what is not."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.errors import SourceError
from retrofit.model import Listing
from retrofit.simplestreams.index import merged, product_files, read_products
from tests.unit.streams import BASE, item, listing

PRODUCT = "com.ubuntu.cloud:server:24.04:amd64"
CONTENT = "com.ubuntu.cloud:released:download"
DISK = {"ftype": "disk1.img", "path": "a/b.img", "sha256": "a" * 64, "md5": "b" * 32, "size": 7}


def products(items: dict[str, Any] | None = None, **changed: Any) -> bytes:
    tree = {
        "format": "products:1.0",
        "content_id": CONTENT,
        "products": {
            PRODUCT: {
                "arch": "amd64",
                "os": "ubuntu",
                "support_eol": "2029-05-31",
                "versions": {"20260911": {"items": items or {"disk1.img": DISK}}},
            }
        },
        **changed,
    }
    return json.dumps(tree).encode()


def read(content: bytes) -> Listing:
    return read_products(content, content_id=CONTENT, base=BASE, name="the products")


def index(**entry: Any) -> bytes:
    described = {
        "datatype": "image-downloads",
        "format": "products:1.0",
        "path": f"streams/v1/{CONTENT}.sjson",
        "products": [PRODUCT],
        **entry,
    }
    return json.dumps({"format": "index:1.0", "index": {CONTENT: described}}).encode()


def test_reads_an_item_with_all_that_is_said_of_it() -> None:
    (found,) = read(products()).items
    assert (found.product, found.version, found.name) == (PRODUCT, "20260911", "disk1.img")
    assert (found.url, found.size) == (f"{BASE}a/b.img", 7)
    assert (found.sha256, found.md5) == ("a" * 64, "b" * 32)
    assert str(found.support_eol) == "2029-05-31"
    assert found.metadata == {
        "arch": "amd64", "ftype": "disk1.img", "md5": "b" * 32, "os": "ubuntu",
        "sha256": "a" * 64, "size": "7", "support_eol": "2029-05-31",
    }  # fmt: skip


def test_passes_over_what_is_no_whole_disk() -> None:
    items = {"disk1.img": DISK, "squashfs": {**DISK, "ftype": "squashfs"}}
    assert [each.name for each in read(products(items)).items] == ["disk1.img"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"path": "../../etc/passwd"}, "leads out of the mirror"),
        ({"path": "a/../b.img"}, "leads out of the mirror"),
        ({"path": "/etc/passwd"}, "leads out of the mirror"),
        ({"path": "//other.example.test/x.img"}, "leads out of the mirror"),
        ({"path": "https://other.example.test/x.img"}, "leads out of the mirror"),
        ({"path": "file:///etc/passwd"}, "leads out of the mirror"),
        ({"path": "javascript:x"}, "leads out of the mirror"),
        ({"path": "a\\..\\b"}, "leads out of the mirror"),
        ({"path": "a/%2e%2e/b"}, "leads out of the mirror"),
        ({"path": "a/b?c"}, "leads out of the mirror"),
        ({"path": "a/\x1b[31mred"}, "leads out of the mirror"),
        ({"path": ""}, "leads out of the mirror"),
        ({"path": None}, "leads out of the mirror"),
        ({"sha256": None}, "it has no sha256"),
        ({"sha256": "a" * 63}, "it has no sha256"),
        ({"size": None}, "its size is missing"),
        ({"size": -1}, "its size is -1"),
        ({"size": 0}, "its size is 0"),
        ({"size": 1 << 60}, "its size is 1152921504606846976"),
        ({"size": "many"}, "its size is many"),
        ({"size": True}, "its size is True"),
        ({"size": 1.5}, "its size is 1.5"),
    ],
)
def test_refuses_an_item_that_could_do_harm(changed: dict[str, Any], reason: str) -> None:
    found = read(products({"disk1.img": {**DISK, **changed}}))
    assert found.items == ()
    (refused,) = found.refused
    assert reason in refused.reason
    assert refused.reason.isprintable()
    assert refused.subject == f"{PRODUCT} 20260911 disk1.img"


@pytest.mark.parametrize("version", ["", "2026\n0911", "\x1b[2J", "../..", "9" * 100])
def test_refuses_a_version_that_is_none(version: str) -> None:
    tree = json.loads(products())
    versions = tree["products"][PRODUCT]["versions"]
    versions[version] = versions.pop("20260911")
    found = read(json.dumps(tree).encode())
    assert found.items == ()
    assert found.refused[0].subject.isprintable()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format": "products:1.0"}',
        b'{"format": "products:1.0", "content_id": "x", "content_id": "x"}',
        products(format="index:1.0"),
        products(content_id="com.ubuntu.cloud:daily:download"),
        products(products=[]),
        products(products={PRODUCT: None}),
        products(products={PRODUCT: {"versions": []}}),
        products(_aliases={"arch": {"other": {}}}),
        b'{"format": "products:1.0", "content_id": "' + CONTENT.encode() + b'"}',
        b'{"format": ' + b"9" * 10_000 + b"}",
    ],
)
def test_refuses_what_is_no_file_of_products(content: bytes) -> None:
    with pytest.raises(SourceError) as caught:
        read(content)
    assert caught.value.exit_code == 4
    assert caught.value.hint
    assert caught.value.message.isprintable()


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(
        st.sampled_from(["products", "versions", "items", PRODUCT, "disk1.img", "path", "size"]),
        deeper, max_size=4,
    ),
))  # fmt: skip
def test_whatever_is_signed_is_read_or_refused(tree: object) -> None:
    content = json.dumps({"format": "products:1.0", "content_id": CONTENT, "products": tree})
    with suppress(SourceError):
        read(content.encode())


def test_finds_the_files_of_ubuntu_images() -> None:
    (found,) = product_files(index(), name="the index")
    assert (found.content_id, found.path) == (CONTENT, f"streams/v1/{CONTENT}.sjson")


@pytest.mark.parametrize(
    "entry",
    [
        {"datatype": "image-ids"},
        {"format": "products:2.0"},
        {"products": ["com.example:server:1:amd64"]},
        {"products": []},
    ],
)
def test_passes_over_other_streams(entry: dict[str, Any]) -> None:
    assert product_files(index(**entry), name="the index") == []


@pytest.mark.parametrize(
    "content",
    [
        index(path="../x.sjson"),
        index(path="http://elsewhere.example.test/x.sjson"),
        index(path=None),
        index(products=7),
        b'{"format": "index:1.0", "index": []}',
        b'{"format": "index:1.0"}',
        b"<html>not found</html>",
    ],
)
def test_refuses_what_is_no_index(content: bytes) -> None:
    with pytest.raises(SourceError):
        product_files(content, name="the index")


def test_refuses_an_index_of_too_many_files() -> None:
    entry = json.loads(index())["index"][CONTENT]
    tree = {"format": "index:1.0", "index": {f"stream-{n}": entry for n in range(1000)}}
    with pytest.raises(SourceError, match="1000 files"):
        product_files(json.dumps(tree).encode(), name="the index")


def test_what_two_files_say_differently_is_used_by_nobody() -> None:
    same, other = item("20260911"), item("20260912")
    forged = item("20260912", sha256="0" * 64)
    found = merged([listing(same, other), listing(same, forged)], where=BASE, signed_by=None)
    assert found.items == (same,)
    assert [no.reason for no in found.refused] == [
        "the mirror lists it twice, with different bytes"
    ]
