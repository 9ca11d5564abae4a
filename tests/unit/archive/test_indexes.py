"""What an index states of itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.archive.indexes import (
    Index,
    newest,
    older_than_seen,
    parse_index,
    read_date,
)

SIGNED = b"""\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA512

Origin: Ubuntu
Label: Ubuntu
Suite: noble-security
Codename: noble
Date: Thu, 26 Nov 2026 19:40:24 UTC
SHA256:
 0123 10 main/binary-amd64/Packages
-----BEGIN PGP SIGNATURE-----
"""
FIRST, SECOND = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)


def index(name: str, date: datetime, *, is_security: bool = False) -> Index:
    return Index(name=name, suite=name, date=date, is_security=is_security, digest="")


def test_a_signed_index() -> None:
    found = parse_index("h_dists_noble-security_InRelease", SIGNED)
    assert (found.suite, found.is_security) == ("noble-security", True)
    assert found.date == datetime(2026, 11, 26, 19, 40, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "is_security"),
    [
        (b"Suite: stable-security\nCodename: trixie-security\nLabel: Debian-Security\n", True),
        (b"Suite: oldstable\nCodename: wheezy\nLabel: Debian-Security\n", True),
        (b"Suite: noble-updates\nCodename: noble\nLabel: Ubuntu\n", False),
        (b"Suite: noble-security-proposed\nCodename: noble\n", False),
    ],
)
def test_indexes_of_security(text: bytes, is_security: bool) -> None:
    assert parse_index("x", text).is_security is is_security


def test_the_newest_is_of_the_security_suites() -> None:
    old, new = index("security", FIRST, is_security=True), index("other", SECOND)
    assert newest((old, new)) == FIRST
    assert newest((new,)) == SECOND
    assert newest(()) is None


def test_an_index_that_was_newer_before() -> None:
    old, new = index("a", FIRST), index("b", SECOND)
    assert older_than_seen((old, new), {"a": SECOND, "b": SECOND}) is old
    assert older_than_seen((old, new), {"a": FIRST, "c": SECOND}) is None


@pytest.mark.parametrize("text", ["", "yesterday", "Thu, 99 Nov 2026 19:40:24 UTC", "9" * 5000])
def test_no_date(text: str) -> None:
    assert read_date(text) is None


@given(st.binary(max_size=300))
def test_no_bytes_break_it(data: bytes) -> None:
    parse_index("x", data)
    parse_index("x", b"Date: " + data)
