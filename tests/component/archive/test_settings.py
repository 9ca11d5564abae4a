"""A check reaches the archive as a build does: mirrors, proxies, CA, sources of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from retrofit.archive.evidence import SOURCES_PARTS
from retrofit.archive.offer import ArchiveError, UpdateKind
from retrofit.config import BuildSettings
from tests.archive.packages import Package
from tests.archive.server import served
from tests.archive.small_archive import KEYRING, SmallArchive, small_archive
from tests.component.archive.conftest import Checks, kinds
from tests.devcloud.certificates import loopback_certificate

OPENSSL = Package(name="libssl3", version="3.0.13-0", source="openssl")
FIXED = dataclasses.replace(OPENSSL, version="3.0.13-1")
UBUNTU = f"{SOURCES_PARTS}/ubuntu.sources"
FIX = {"libssl3": UpdateKind.SECURITY}


@pytest.fixture(autouse=True)
def fixed(archive: SmallArchive) -> None:
    archive.add("noble", OPENSSL)
    archive.add("noble-security", FIXED)


def test_mirrors(archive: SmallArchive, check: Checks) -> None:
    own = "".join(
        f"Types: deb\nURIs: http://{host}.ubuntu.com/ubuntu\nSuites: {suites}\nComponents: main\n"
        f"Signed-By: /{KEYRING}\n\n"
        for host, suites in (("archive", "noble noble-updates"), ("security", "noble-security"))
    )
    evidence = archive.evidence(OPENSSL, files={UBUNTU: own.encode()})
    check.build = BuildSettings(
        archive_mirror=archive.url, security_mirror=f"{archive.url}/../ubuntu"
    )
    with pytest.raises(ArchiveError, match="address"):
        check(evidence)
    check.build = BuildSettings(archive_mirror=archive.url, security_mirror=archive.url)
    assert kinds(check(evidence)) == FIX


def test_proxies(archive: SmallArchive, check: Checks) -> None:
    check.build = BuildSettings(http_proxy="http://me:word@127.0.0.1:1/")
    with pytest.raises(ArchiveError, match=r"127\.0\.0\.1 1|connect") as refused:
        check(archive.evidence(OPENSSL))
    assert "word" not in refused.value.message
    check.build = BuildSettings(http_proxy="http://127.0.0.1:1/", no_proxy="127.0.0.1")
    assert kinds(check(archive.evidence(OPENSSL))) == FIX


def test_sources_of_the_settings(archive: SmallArchive, check: Checks, tmp_path: Path) -> None:
    mine = tmp_path / "mine.sources"
    mine.write_bytes(archive.sources())
    check.build = BuildSettings(apt_sources=mine)
    nowhere = b"deb http://archive.invalid/ubuntu noble main"
    evidence = archive.evidence(OPENSSL, files={UBUNTU: b"", f"{SOURCES_PARTS}/a.list": nowhere})
    assert kinds(check(evidence)) == FIX
    # Those of the build, without the credentials that the file may have.
    names = {f"{SOURCES_PARTS}/stock-archive.list": nowhere, UBUNTU: b""}
    assert kinds(check(archive.evidence(OPENSSL, files=names))) == FIX


def test_a_pinned_suite(archive: SmallArchive, check: Checks) -> None:
    pin = b"Package: *\nPin: release a=noble-security\nPin-Priority: -1\n"
    evidence = archive.evidence(OPENSSL, files={"etc/apt/preferences": pin})
    assert check(evidence).updates == ()


def test_a_key_of_trusted_gpg_d(archive: SmallArchive, check: Checks) -> None:
    sources = archive.sources().split(b"Signed-By")[0]
    files = {UBUNTU: sources, "etc/apt/trusted.gpg.d/archive.gpg": archive.keyring}
    assert kinds(check(archive.evidence(OPENSSL, files=files))) == FIX


def test_an_image_of_another_architecture(check: Checks, tmp_path: Path) -> None:
    check.architecture = "arm64"
    package = dataclasses.replace(OPENSSL, architecture="arm64")
    with small_archive(tmp_path / "ports", architectures=("arm64",)) as ports:
        ports.add("noble", package)
        assert check(ports.evidence(package)).updates == ()
        ports.add("noble-security", dataclasses.replace(package, version="3.0.13-1"))
        assert kinds(check(ports.evidence(package))) == FIX


def test_a_foreign_architecture_of_the_image(check: Checks, tmp_path: Path) -> None:
    foreign = Package(name="libc6", version="1", architecture="i386")
    with small_archive(tmp_path / "multi", architectures=("amd64", "i386")) as multi:
        multi.add("noble", OPENSSL, foreign)
        multi.add("noble-updates", dataclasses.replace(foreign, version="2"))
        offer = check(multi.evidence(OPENSSL, foreign))
        assert kinds(offer) == {"libc6:i386": UpdateKind.OTHER}


def test_an_authority_of_ones_own(archive: SmallArchive, check: Checks, tmp_path: Path) -> None:
    certificate = loopback_certificate(tmp_path)
    with served(archive.www.parent, certificate.server) as server:
        sources = archive.sources().replace(archive.server.url.encode(), server.url.encode())
        evidence = archive.evidence(OPENSSL, files={UBUNTU: sources})
        with pytest.raises(ArchiveError, match=r"(?i)certificate"):
            check(evidence)
        check.build = BuildSettings(ca_bundle=certificate.authority)
        assert kinds(check(evidence)) == FIX
