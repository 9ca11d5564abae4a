"""Where packages come from while an image is made, and that the image forgets it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.element_scripts import ELEMENTS, run, within, write_file

MIRROR = ELEMENTS / "stock-archive/bin/stock-archive-mirror"

JAMMY = """\
# See http://help.ubuntu.com/community/UpgradeNotes
deb http://archive.ubuntu.com/ubuntu/ jammy main restricted
# deb-src http://archive.ubuntu.com/ubuntu/ jammy main restricted
deb http://archive.ubuntu.com/ubuntu/ jammy-updates main restricted
deb [arch=amd64] http://security.ubuntu.com/ubuntu/ jammy-security main
"""
NOBLE = """\
# Ubuntu sources have moved
Types: deb
URIs: http://archive.ubuntu.com/ubuntu/
Suites: noble noble-updates noble-backports
Components: main universe
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

Types: deb
URIs: http://security.ubuntu.com/ubuntu/
Suites: noble-security
Components: main universe
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
"""
DEBIAN_CLOUD = """\
Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian.list
Suites: trixie trixie-updates trixie-backports
Components: main

Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian-security.list
Suites: trixie-security
Components: main
"""


def _mirrored(file: Path, text: str, *, archive: str = "", security: str = "") -> str:
    file.write_text(text)
    result = run(
        *(sys.executable, MIRROR, file),
        DIB_DISTRIBUTION_MIRROR=archive,
        DIB_STOCK_SECURITY_MIRROR=security,
    )
    assert result.returncode == 0, result.stderr
    return file.read_text()


def test_mirrors_replace_one_line_entries(tmp_path: Path) -> None:
    found = _mirrored(
        tmp_path / "sources.list", JAMMY, archive="http://m/ubuntu", security="http://s/ubuntu"
    )

    assert found.splitlines() == [
        "# See http://help.ubuntu.com/community/UpgradeNotes",
        "deb http://m/ubuntu jammy main restricted",
        "# deb-src http://archive.ubuntu.com/ubuntu/ jammy main restricted",
        "deb http://m/ubuntu jammy-updates main restricted",
        "deb [arch=amd64] http://s/ubuntu jammy-security main",
    ]


def test_mirrors_replace_deb822_stanzas(tmp_path: Path) -> None:
    found = _mirrored(
        tmp_path / "ubuntu.sources", NOBLE, archive="http://m/ubuntu", security="http://s/ubuntu"
    )

    expected = NOBLE.replace("http://archive.ubuntu.com/ubuntu/", "http://m/ubuntu")
    assert found == expected.replace("http://security.ubuntu.com/ubuntu/", "http://s/ubuntu")


def test_mirrors_replace_lists_of_mirrors(tmp_path: Path) -> None:
    found = _mirrored(
        tmp_path / "debian.sources", DEBIAN_CLOUD, archive="http://m/d", security="http://m/s"
    )

    assert re.findall(r"^URIs: (.*)$", found, re.MULTILINE) == ["http://m/d", "http://m/s"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("sources.list", JAMMY), ("ubuntu.sources", NOBLE), ("debian.sources", DEBIAN_CLOUD)],
)
def test_a_mirror_that_is_not_given_replaces_nothing(tmp_path: Path, name: str, text: str) -> None:
    security = [line for line in text.splitlines() if "security" in line]
    archive_only = _mirrored(tmp_path / name, text, archive="http://m/archive")

    assert _mirrored(tmp_path / name, text) == text
    assert [line for line in archive_only.splitlines() if "security" in line] == security
    assert "http://m/archive" in archive_only


UBUNTU_ARCHIVE = ELEMENTS / "stock-archive/pre-install.d/03-stock-archive-ubuntu"


def _on_ubuntu(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    for directory in ("sources.list.d", "trusted.gpg.d"):
        (root / "etc/apt" / directory).mkdir(parents=True, exist_ok=True)
    return within(UBUNTU_ARCHIVE, root, DISTRO_NAME="ubuntu", DIB_RELEASE="jammy", **environment)


@pytest.mark.parametrize(
    ("pocket", "suite"),
    [
        ("caracal", "jammy-updates/caracal"),
        ("caracal-updates", "jammy-updates/caracal"),
        ("caracal-proposed", "jammy-proposed/caracal"),
    ],
)
def test_a_pocket_of_the_cloud_archive_is_enabled(tmp_path: Path, pocket: str, suite: str) -> None:
    result = _on_ubuntu(tmp_path, DIB_STOCK_CLOUD_ARCHIVE=pocket)

    assert result.returncode == 0, result.stderr
    sources = (tmp_path / "etc/apt/sources.list.d/stock-archive-cloud.sources").read_text()
    assert f"\nSuites: {suite}\n" in sources
    assert "\nURIs: http://ubuntu-cloud.archive.canonical.com/ubuntu\n" in sources
    assert "install-packages ubuntu-cloud-keyring" in (tmp_path / "commands").read_text()


def test_the_cloud_archive_has_a_mirror(tmp_path: Path) -> None:
    _on_ubuntu(
        tmp_path,
        DIB_STOCK_CLOUD_ARCHIVE="epoxy",
        DIB_STOCK_CLOUD_ARCHIVE_MIRROR="http://mirror.example.com/uca",
    )

    sources = (tmp_path / "etc/apt/sources.list.d/stock-archive-cloud.sources").read_text()
    assert "\nURIs: http://mirror.example.com/uca\n" in sources


def test_every_ppa_is_enabled(tmp_path: Path) -> None:
    _on_ubuntu(tmp_path, DIB_STOCK_PPAS="ppa:one/a ppa:two/b")

    assert (tmp_path / "commands").read_text().splitlines()[-2:] == [
        "add-apt-repository --yes --no-update ppa:one/a",
        "add-apt-repository --yes --no-update ppa:two/b",
    ]


def test_the_cloud_archive_is_refused_where_it_has_nothing(tmp_path: Path) -> None:
    result = within(
        UBUNTU_ARCHIVE, tmp_path, DISTRO_NAME="debian", DIB_RELEASE="trixie",
        DIB_STOCK_CLOUD_ARCHIVE="caracal",
    )  # fmt: skip

    assert result.returncode == 1
    assert "ERROR: the Ubuntu Cloud Archive and PPAs have nothing for debian" in result.stdout


SOURCES = ELEMENTS / "stock-archive/pre-install.d/02-stock-archive-sources"
RESTORE = ELEMENTS / "stock-archive/finalise.d/80-stock-archive-restore"


def test_the_image_gets_its_own_sources_back(tmp_path: Path) -> None:
    own = write_file(tmp_path, "etc/apt/sources.list", JAMMY)
    other = write_file(tmp_path, "etc/apt/sources.list.d/vendor.list", "deb http://v/ jammy main\n")
    (tmp_path / "etc/apt/apt.conf.d").mkdir()
    build = write_file(
        tmp_path, "var/lib/stock-archive/build.list", "deb http://build/ jammy main\n"
    )
    write_file(tmp_path, "var/lib/stock-archive/ca-bundle.pem", "certificates\n")

    during = within(SOURCES, tmp_path)
    seen = {
        str(file.relative_to(tmp_path)): file.read_text()
        for file in (tmp_path / "etc/apt").rglob("*")
        if file.is_file()
    }
    after = within(RESTORE, tmp_path)

    assert (during.returncode, after.returncode) == (0, 0), during.stderr + after.stderr
    assert seen == {
        "etc/apt/sources.list.d/stock-archive.list": "deb http://build/ jammy main\n",
        "etc/apt/apt.conf.d/99stock-archive": (
            'Acquire::https::CAInfo "/var/lib/stock-archive/ca-bundle.pem";\n'
        ),
    }
    assert own.read_text() == JAMMY
    assert other.read_text() == "deb http://v/ jammy main\n"
    assert list((tmp_path / "etc/apt/sources.list.d").iterdir()) == [other]
    assert list((tmp_path / "etc/apt/apt.conf.d").iterdir()) == []
    assert not build.parent.exists()


def test_the_key_of_a_ppa_goes_with_its_sources(tmp_path: Path) -> None:
    own = write_file(tmp_path, "etc/apt/trusted.gpg.d/own.gpg", "key")
    adding = "#!/bin/sh\necho key > /etc/apt/trusted.gpg.d/ppa.gpg\n"
    write_file(tmp_path, "fakes/add-apt-repository", adding).chmod(0o755)
    write_file(tmp_path, "etc/apt/sources.list", JAMMY)

    within(SOURCES, tmp_path)
    during = _on_ubuntu(tmp_path, DIB_STOCK_PPAS="ppa:one/a")
    added = (tmp_path / "etc/apt/trusted.gpg.d/ppa.gpg").exists()
    after = within(RESTORE, tmp_path)

    assert (during.returncode, after.returncode) == (0, 0), during.stderr + after.stderr
    assert added
    assert list((tmp_path / "etc/apt/trusted.gpg.d").iterdir()) == [own]
