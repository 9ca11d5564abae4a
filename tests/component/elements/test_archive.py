"""Where packages come from while an image is made, and that the image forgets it."""

from __future__ import annotations

import hashlib
import os
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
        "etc/apt/apt.conf.d/99stock-archive-lent": (
            'APT::Update::Post-Invoke { "/usr/local/bin/stock-archive-lent || true"; };\n'
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


LENT = ELEMENTS / "stock-archive/bin/stock-archive-lent"
OPTIONS = "-o APT::Sandbox::User=root -o Acquire::Languages=none"
# The version has an epoch, whose colon apt writes as %3a.
FILE = "victim_1%3a2.0-1_all.deb"


def _package(directory: Path, says: str) -> Path:
    """Make a package whose size does not depend on what it says."""
    tree = directory / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: victim\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: m <m@example.org>\n"
        f"Description: {says}\n"
    )
    made = directory / "victim.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, made],
        check=True, capture_output=True, env={"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": "1"},
    )  # fmt: skip
    return made


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Files of an image whose apt is real, and has an archive with one package."""
    root = tmp_path / "image"
    genuine = _package(tmp_path / "genuine", "what the archive has").read_bytes()
    index = (
        "Package: victim\nVersion: 1:2.0-1\nArchitecture: all\nFilename: ./victim.deb\n"
        f"Size: {len(genuine)}\nSHA256: {hashlib.sha256(genuine).hexdigest()}\nDescription: x\n"
    )
    write_file(root, "repository/Packages", index)
    (root / "repository/victim.deb").write_bytes(genuine)
    write_file(root, "etc/apt/sources.list", "deb [trusted=yes] copy:/mnt/repository ./\n")
    write_file(root, "fakes/apt-get", '#!/bin/sh\nexec /usr/bin/apt-get "$@"\n').chmod(0o755)
    write_file(root, "var/lib/dpkg/status", "")
    for directory in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/cache/apt/archives/lent",
                      "var/lib/apt/lists", "var/log/apt"):  # fmt: skip
        (root / directory).mkdir(parents=True)
    assert within(SOURCES, root).returncode == 0
    hook = root / "etc/apt/apt.conf.d/99stock-archive-lent"
    hook.write_text(hook.read_text().replace("/usr/local/bin", "/mnt/fakes"))
    return root


def _to_install(image: Path) -> tuple[bytes, str]:
    """Let apt update and download; return the package that it would install, and what it said."""
    caller = write_file(
        image,
        "element/install.d/50-caller",
        f"apt-get {OPTIONS} update\napt-get {OPTIONS} install --yes --download-only victim\n",
    )
    caller.chmod(0o755)
    done = within(caller, image)
    assert done.returncode == 0, done.stdout + done.stderr
    return (image / "var/cache/apt/archives" / FILE).read_bytes(), done.stdout


def test_a_package_that_is_as_the_index_says_is_not_downloaded_again(image: Path) -> None:
    genuine = (image / "repository/victim.deb").read_bytes()
    (image / "var/cache/apt/archives/lent" / FILE).write_bytes(genuine)

    found, said = _to_install(image)

    assert found == genuine
    assert "Need to get 0 B" in said


def test_a_package_that_another_image_wrote_is_not_installed(image: Path, tmp_path: Path) -> None:
    genuine = (image / "repository/victim.deb").read_bytes()
    poison = _package(tmp_path / "poison", "what root wants here").read_bytes()
    assert poison != genuine
    assert len(poison) == len(genuine), "else apt itself would see it"
    (image / "var/cache/apt/archives/lent" / FILE).write_bytes(poison)

    found, said = _to_install(image)

    assert found == genuine
    assert "Need to get 0 B" not in said


def test_apt_itself_takes_whatever_has_the_size(image: Path, tmp_path: Path) -> None:
    """Why the above is there: should apt compare more one day, it need not be."""
    poison = _package(tmp_path / "poison", "what root wants here").read_bytes()
    (image / "var/cache/apt/archives" / FILE).write_bytes(poison)

    assert _to_install(image)[0] == poison


def test_an_archive_s_bytes_under_another_name_are_not_taken(image: Path) -> None:
    lent = image / "var/cache/apt/archives/lent"
    (lent / "other_1_all.deb").write_bytes((image / "repository/victim.deb").read_bytes())

    _to_install(image)

    assert [path.name for path in lent.iterdir()] == ["other_1_all.deb"]
    assert not (image / "var/cache/apt/archives/other_1_all.deb").exists()


def test_without_indexes_nothing_is_taken(image: Path) -> None:
    (image / "var/cache/apt/archives/lent" / FILE).write_bytes(b"x")

    assert within(LENT, image).returncode == 0
    assert not (image / "var/cache/apt/archives" / FILE).exists()


def test_nothing_lent_is_no_failure(image: Path) -> None:
    assert within(LENT, image).returncode == 0
    (image / "var/cache/apt/archives/lent").rmdir()
    assert within(LENT, image).returncode == 0
