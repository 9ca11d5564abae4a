"""dpkg's status: names become arguments of apt's, holds are put in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.archive.offer import ArchiveError
from retrofit.archive.status import Installed, installed_packages, with_held

STATUS = b"""\
Package: libssl3t64
Status: install ok installed
Source: openssl (3.0.13-0ubuntu3.4)
Architecture: amd64
Version: 3.0.13-0ubuntu3.4
Description: Secure Sockets Layer
 Package: not-this
 Status: deinstall ok config-files

Package: linux-image-virtual
Status: hold ok installed
Architecture: amd64

Package: removed
Status: deinstall ok config-files
Architecture: amd64

Package: tzdata
Status: install ok installed
Architecture: all
"""


def test_what_is_installed() -> None:
    assert list(installed_packages(STATUS)) == [
        Installed(
            package="libssl3t64", architecture="amd64", source="openssl", held=False,
            source_version="3.0.13-0ubuntu3.4",
        ),
        Installed(
            package="linux-image-virtual", architecture="amd64", source="linux-image-virtual",
            held=True,
        ),
        Installed(package="tzdata", architecture="all", source="tzdata", held=False),
    ]  # fmt: skip


def test_a_hold_changes_one_line() -> None:
    held = with_held(STATUS, {"tzdata", "removed", "not-installed"})
    before, after = STATUS.splitlines(), held.splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [b"Status: hold ok installed"]
    assert [each.package for each in installed_packages(held) if each.held] == [
        "linux-image-virtual",
        "tzdata",
    ]
    assert with_held(STATUS, ()) == STATUS


@pytest.mark.parametrize("name", ["-oDir=/", "--help", "a/b", "A", "a b", "", "a\x1b[2J", "é" * 9])
def test_a_name_that_no_package_has(name: str) -> None:
    status = f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n".encode()
    with pytest.raises(ArchiveError, match="dpkg status"):
        list(installed_packages(status))


def test_an_architecture_that_there_is_not() -> None:
    status = b'Package: a1\nStatus: install ok installed\nArchitecture: "; Dir "/\n'
    with pytest.raises(ArchiveError, match="dpkg status"):
        list(installed_packages(status))


@given(st.binary(max_size=400))
def test_no_bytes_break_it(data: bytes) -> None:
    for prefix in (b"", b"Package: a1\nStatus: install ok installed\n"):
        try:
            assert all(each.package for each in installed_packages(prefix + data))
        except ArchiveError:
            continue
