"""Where packages come from while an image is made, and that the image forgets it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.component.elements.element_scripts import ELEMENTS, run, within, write_file

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


FOREIGN = """\
deb http://archive.ubuntu.com/ubuntu/ jammy main restricted
deb http://security.ubuntu.com/ubuntu/ jammy-security main restricted
deb [signed-by=/usr/share/keyrings/ubuntu-cloud-keyring.gpg] \
http://ubuntu-cloud.archive.canonical.com/ubuntu jammy-updates/caracal main
deb https://packages.vendor.example/agent/ubuntu jammy stable
deb https://esm.ubuntu.com/infra/ubuntu jammy-infra-security main
deb http://archive.ubuntu.com.evil.example/ubuntu jammy main
deb http://de.archive.ubuntu.com/ubuntu jammy-updates main
deb http://eu-west-1.ec2.ports.ubuntu.com/ubuntu-ports jammy main
"""


def test_entries_of_others_stay_in_one_line_files(tmp_path: Path) -> None:
    found = _mirrored(
        tmp_path / "sources.list", FOREIGN, archive="http://m/ubuntu", security="http://s/ubuntu"
    )
    before, after = FOREIGN.splitlines(), found.splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [
        "deb http://m/ubuntu jammy main restricted",
        "deb http://s/ubuntu jammy-security main restricted",
        "deb http://m/ubuntu jammy-updates main",
        "deb http://m/ubuntu jammy main",
    ]


def test_entries_of_others_stay_in_deb822_files(tmp_path: Path) -> None:
    other = (
        "\nTypes: deb\nURIs: https://packages.vendor.example/ubuntu\nSuites: noble\n"
        "Components: main\n\nTypes: deb\nURIs: http://us.archive.ubuntu.com/ubuntu"
        " http://archive.ubuntu.com/ubuntu https://site.example/ubuntu\nSuites: noble\n"
        "Components: main\n"
    )
    found = _mirrored(tmp_path / "ubuntu.sources", NOBLE + other, archive="http://m/ubuntu")
    assert re.findall(r"(?m)^URIs: (.*)$", found) == [
        "http://m/ubuntu",
        "http://security.ubuntu.com/ubuntu/",
        "https://packages.vendor.example/ubuntu",
        "http://m/ubuntu https://site.example/ubuntu",
    ]


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


@pytest.mark.parametrize("ending", ["asc", "gpg"])
def test_the_mirrors_own_key_takes_the_place_of_ubuntus(tmp_path: Path, ending: str) -> None:
    write_file(tmp_path, f"var/lib/stock-archive/cloud-key.{ending}", "key\n")
    name = f"stock-archive-cloud.{ending}"
    script = tmp_path / UBUNTU_ARCHIVE.name
    script.write_text(
        UBUNTU_ARCHIVE.read_text()
        .replace("/usr/share/keyrings/stock", "/etc/keyrings/stock")
        .replace("mkdir -p /usr/share/keyrings", "mkdir -p /etc/keyrings")
    )
    place = tmp_path / "element" / "pre-install.d"
    place.mkdir(parents=True)
    (place / UBUNTU_ARCHIVE.name).write_text(script.read_text())
    (place / UBUNTU_ARCHIVE.name).chmod(0o755)
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    result = within(
        place / UBUNTU_ARCHIVE.name, tmp_path, DISTRO_NAME="ubuntu", DIB_RELEASE="noble",
        DIB_STOCK_CLOUD_ARCHIVE="caracal", DIB_STOCK_CLOUD_ARCHIVE_MIRROR="http://m/uca",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    sources = (tmp_path / "etc/apt/sources.list.d/stock-archive-cloud.sources").read_text()
    assert f"Signed-By: /etc/keyrings/{name}" in sources
    assert (tmp_path / "etc/keyrings" / name).read_text() == "key\n"
    assert "ubuntu-cloud-keyring" not in (tmp_path / "commands").read_text()


READS_ITS_BUNDLE = """#!/bin/sh
echo "add-apt-repository $* $(cat /etc/ssl/certs/ca-certificates.crt)" >> /mnt/commands
"""


@pytest.mark.parametrize("own", ["own\n", None], ids=["with a bundle", "without"])
@pytest.mark.parametrize("fails", [False, True])
def test_launchpads_client_sees_the_builds_ca_and_the_image_does_not(
    tmp_path: Path, own: str | None, fails: bool
) -> None:
    bundle = "etc/ssl/certs/ca-certificates.crt"
    if own is not None:
        write_file(tmp_path, bundle, own)
    write_file(tmp_path, "var/lib/stock-archive/ca-bundle.pem", "own and build\n")
    fake = write_file(
        tmp_path, "fakes/add-apt-repository", READS_ITS_BUNDLE + ("exit 1\n" if fails else "")
    )
    fake.chmod(0o755)
    result = _on_ubuntu(tmp_path, DIB_STOCK_PPAS="ppa:one/a")
    assert (result.returncode != 0) == fails, result.stderr
    assert (tmp_path / "commands").read_text().splitlines()[-1] == (
        "add-apt-repository --yes --no-update ppa:one/a own and build"
    )
    after = tmp_path / bundle
    assert (after.read_text() if after.exists() else None) == own
    assert list((tmp_path / "etc/ssl/certs").iterdir()) == ([after] if own else [])


def test_without_a_ca_the_systems_bundle_is_left_alone(tmp_path: Path) -> None:
    own = write_file(tmp_path, "etc/ssl/certs/ca-certificates.crt", "own\n")
    before = own.stat().st_ino
    assert _on_ubuntu(tmp_path, DIB_STOCK_PPAS="ppa:one/a").returncode == 0
    assert (own.read_text(), own.stat().st_ino) == ("own\n", before)


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
    assert "ERROR: the Ubuntu Cloud Archive and PPAs have no packages for debian" in result.stdout


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


EVIDENCE = ELEMENTS / "stock-archive/finalise.d/79-stock-archive-evidence"


def _evidence(root: Path, **environment: str) -> dict[str, str]:
    """Return what is left for apt in a root directory, by path."""
    result = within(EVIDENCE, root, **environment)
    assert result.returncode == 0, result.stderr
    left = root / "var/lib/stock-archive-evidence"
    files = [file for file in left.rglob("*") if file.is_file()]
    return {
        name: file.read_text()
        for file in files
        if not (name := str(file.relative_to(left))).startswith("usr/")  # the machine's keyrings
    }


def test_evidence_has_the_public_addresses_of_the_image_s_sources(tmp_path: Path) -> None:
    write_file(tmp_path, "etc/apt/sources.list", JAMMY)
    write_file(tmp_path, "etc/apt/sources.list.d/vendor.list", "deb http://u:p@v/ jammy main\n")
    write_file(tmp_path, "var/lib/stock-image/held-by-build", "linux-image-generic\n")
    write_file(
        tmp_path,
        "var/lib/apt/lists/a_InRelease",
        "Origin: Ubuntu\nLabel: Ubuntu\nSuite: jammy\nDate: Thu, 26 Nov 2026 10:00:00 UTC\nx\n",
    )
    (tmp_path / "etc/apt/apt.conf.d").mkdir()
    mirror = "http://u:secret@mirror.example.com/ubuntu"
    during = within(
        SOURCES, tmp_path, DIB_DISTRIBUTION_MIRROR=mirror, DIB_STOCK_SECURITY_MIRROR=mirror
    )
    assert during.returncode == 0, during.stderr
    assert "mirror.example.com" in (tmp_path / "etc/apt/sources.list").read_text()

    assert _evidence(tmp_path) == {
        "etc/apt/sources.list": JAMMY,
        "etc/apt/sources.list.d/vendor.list": "deb http://v/ jammy main\n",
        "retrofit/held": "linux-image-generic\n",
        "retrofit/dates": "a_InRelease\tThu, 26 Nov 2026 10:00:00 UTC\n",
    }


def test_evidence_has_what_the_operator_gave_in_place_of_the_image_s(tmp_path: Path) -> None:
    write_file(tmp_path, "etc/apt/sources.list", JAMMY)
    for directory in ("apt.conf.d", "sources.list.d"):
        (tmp_path / "etc/apt" / directory).mkdir()
    write_file(tmp_path, "var/lib/stock-archive/build.list", "deb http://u:p@build/ jammy main\n")
    assert within(SOURCES, tmp_path).returncode == 0

    evidence = _evidence(tmp_path)
    assert evidence.pop("retrofit/dates") == ""
    assert evidence == {
        "etc/apt/sources.list.d/stock-archive.list": "deb http://build/ jammy main\n"
    }


def test_evidence_has_pockets_and_ppas_by_their_public_addresses(tmp_path: Path) -> None:
    write_file(tmp_path, "var/lib/stock-archive/own/sources.list", JAMMY)
    write_file(
        tmp_path,
        "etc/apt/sources.list.d/stock-archive-cloud.sources",
        "Types: deb\nURIs: http://mirror.example.com/uca\nSuites: jammy-updates/caracal\n",
    )
    write_file(tmp_path, "etc/apt/sources.list.d/one-a.list", "deb http://ppa/one/a jammy main\n")
    evidence = _evidence(
        tmp_path,
        DIB_STOCK_CLOUD_ARCHIVE="caracal",
        DIB_STOCK_CLOUD_ARCHIVE_MIRROR="http://mirror.example.com/uca",
    )
    assert evidence["etc/apt/sources.list"] == JAMMY
    assert evidence["etc/apt/sources.list.d/one-a.list"] == "deb http://ppa/one/a jammy main\n"
    assert (
        "URIs: http://ubuntu-cloud.archive.canonical.com/ubuntu\n"
        in evidence["etc/apt/sources.list.d/stock-archive-cloud.sources"]
    )
