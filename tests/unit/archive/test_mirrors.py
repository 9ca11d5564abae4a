"""A check asks the mirrors that a build would use, by the build's own rule."""

from __future__ import annotations

import pytest

from retrofit.archive.mirrors import mirrored
from retrofit.archive.offer import ArchiveError
from retrofit.archive.sources import parse
from retrofit.config import BuildSettings

UBUNTU = b"""\
Types: deb
URIs: http://archive.ubuntu.com/ubuntu
Suites: noble noble-updates
Components: main

Types: deb
URIs: http://security.ubuntu.com/ubuntu
Suites: noble-security
Components: main
"""
MIRRORS = BuildSettings(
    archive_mirror="http://mirror/ubuntu",
    security_mirror="https://me:word@security/ubuntu",
    cloud_archive_mirror="http://mirror/cloud",
)


def addresses(name: str, data: bytes, build: BuildSettings = MIRRORS) -> list[str]:
    entries = mirrored(parse(f"etc/apt/{name}", data), build)
    return [uri for entry in entries for uri in entry.uris]


def test_the_distributions_own_files() -> None:
    assert addresses("sources.list.d/ubuntu.sources", UBUNTU) == [
        "http://mirror/ubuntu",
        "https://me:word@security/ubuntu",
    ]
    lines = (
        b"deb http://archive.ubuntu.com/ubuntu jammy main\n"
        b"deb http://security.ubuntu.com/ubuntu jammy-security main\n"
    )
    assert addresses("sources.list", lines) == [
        "http://mirror/ubuntu",
        "https://me:word@security/ubuntu",
    ]


def test_entries_of_others_in_the_distributions_own_files() -> None:
    lines = (
        b"deb http://de.archive.ubuntu.com/ubuntu jammy main\n"
        b"deb https://vendor.example/ubuntu jammy stable\n"
    )
    assert addresses("sources.list", lines) == [
        "http://mirror/ubuntu",
        "https://vendor.example/ubuntu",
    ]


def test_one_mirror_only() -> None:
    build = BuildSettings(archive_mirror="http://mirror/ubuntu")
    assert addresses("sources.list.d/ubuntu.sources", UBUNTU, build) == [
        "http://mirror/ubuntu",
        "http://security.ubuntu.com/ubuntu",
    ]


def test_the_cloud_archive() -> None:
    data = b"Types: deb\nURIs: http://cloud/\nSuites: noble-updates/caracal\nComponents: main\n"
    assert addresses("sources.list.d/stock-archive-cloud.sources", data) == ["http://mirror/cloud"]


def test_other_files_stay() -> None:
    line = b"deb http://ppa/team noble main"
    assert addresses("sources.list.d/ppa.list", line) == ["http://ppa/team"]
    assert addresses("sources.list.d/my-ubuntu.sources", UBUNTU)[0].startswith("http://archive")


@pytest.mark.parametrize("name", ["archive_mirror", "security_mirror", "cloud_archive_mirror"])
def test_a_mirror_that_is_no_address(name: str) -> None:
    build = BuildSettings().model_copy(update={name: "file:///srv/mirror"})
    with pytest.raises(ArchiveError, match=f"build.{name} is no address"):
        addresses("sources.list.d/ubuntu.sources", UBUNTU, build)
