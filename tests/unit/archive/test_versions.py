"""The order of Debian's versions; `tests/component/archive/test_versions.py` asks dpkg itself."""

from __future__ import annotations

import pytest

from retrofit.archive.versions import debian_order


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0", "1.1"),
        ("1.9", "1.10"),
        ("1.0~rc1", "1.0"),
        ("1.0", "1.0a"),
        ("1.0a", "1.0+b1"),
        ("1.0-1", "1.0-1ubuntu1"),
        ("1.0-1~deb12u1", "1.0-1"),
        ("9", "1:1"),
        ("1.0~~", "1.0~"),
        ("1.0-1", "1.0-1.1"),
        ("3.0.13-0ubuntu3.9", "3.0.13-0ubuntu3.10"),
        ("1-1-1", "1-1-2"),
        ("0", "9" * 5000),
    ],
)
def test_is_that_of_dpkg(older: str, newer: str) -> None:
    assert debian_order(older) < debian_order(newer)


@pytest.mark.parametrize(("one", "other"), [("1.0", "1.00"), ("0:1", "1"), ("1", "1-0"), ("", "0")])
def test_versions_that_are_the_same(one: str, other: str) -> None:
    assert debian_order(one) == debian_order(other)
