"""The archive is tried by apt before a build, with the keys, proxies and CAs of the build."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retrofit.archive.evidence import OS_RELEASE, Evidence
from retrofit.config import BuildSettings
from retrofit.errors import BuildError
from retrofit.produce.preflight.archive import try_ca_bundle, try_packages
from retrofit.produce.preflight.tries import DoubtError
from tests.archive.packages import Package
from tests.archive.server import served
from tests.archive.small_archive import KEYRING, SmallArchive, end_agent, small_archive
from tests.devcloud.certificates import loopback_certificate

OPENSSL = Package(name="libssl3", version="3.0.13-0", source="openssl")
NOBLE = {OS_RELEASE: b"ID=ubuntu\nVERSION_CODENAME=noble\n"}
GONE = "http://127.0.0.1:1/ubuntu"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[SmallArchive]:
    with small_archive(tmp_path / "archive") as made:
        made.add("noble", OPENSSL)
        yield made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "archive" / ".tries" / "default"


def tried(root: Path, evidence: Evidence | None, series: str = "noble", **build: Any) -> str:
    return try_packages(
        root,
        evidence=evidence,
        series=series,
        architecture="amd64",
        build=BuildSettings(**build),
    )


def refused(root: Path, evidence: Evidence | None, **build: Any) -> BuildError:
    with pytest.raises(BuildError) as told:
        tried(root, evidence, **build)
    assert told.value.hint
    return told.value


def test_what_works_is_read_without_its_packages(archive: SmallArchive, root: Path) -> None:
    archive.server.forget()
    found = tried(root, archive.evidence(OPENSSL, files=NOBLE))
    assert found == f"apt reads {archive.server.url.removeprefix('http://')}"
    asked = [path for path, _ in archive.server.requests]
    assert {path.rpartition("/")[2] for path in asked} == {"InRelease"}


def test_without_evidence_and_settings_nothing_is_known(root: Path) -> None:
    assert tried(root, None).startswith("not known before the first build")
    assert not root.exists()


def test_an_archive_that_is_away_is_named(archive: SmallArchive, root: Path) -> None:
    archive.server.gone = True
    error = refused(root, archive.evidence(OPENSSL, files=NOBLE))
    assert "503" in error.message
    assert archive.server.url.removeprefix("http://").partition(":")[0] in error.message


@pytest.mark.parametrize("setting", ["archive_mirror", "security_mirror"])
def test_a_mirror_of_the_settings_is_tried_before_the_first_build(
    root: Path, archive: SmallArchive, setting: str
) -> None:
    assert tried(root, None, **{setting: archive.url}).startswith("apt reads 127.0.0.1")
    error = refused(root, None, **{setting: GONE})
    assert "127.0.0.1:1" in error.message
    error = refused(root, None, **{setting: f"{archive.url}/nowhere"})
    assert "404" in error.message


def test_a_pocket_that_the_mirror_lacks_is_named(root: Path, archive: SmallArchive) -> None:
    error = refused(root, None, cloud_archive="caracal", cloud_archive_mirror=archive.url)
    assert "404" in error.message


def test_a_proxy_that_is_away_is_named(archive: SmallArchive, root: Path) -> None:
    error = refused(root, None, archive_mirror=archive.url, http_proxy="http://127.0.0.1:1")
    assert "127.0.0.1" in error.message
    assert "build.http_proxy" in (error.hint or "")


def test_a_ca_that_is_not_trusted_is_named_and_one_of_the_settings_is(
    archive: SmallArchive, root: Path, tmp_path: Path
) -> None:
    certificate = loopback_certificate(tmp_path)
    with served(archive.directory / "www", certificate.server) as server:
        mirror = f"{server.url}/ubuntu"
        error = refused(root, None, archive_mirror=mirror)
        assert "certificate" in error.message.lower()
        assert "build.ca_bundle" in (error.hint or "")
        assert tried(root, None, archive_mirror=mirror, ca_bundle=certificate.authority)


def test_an_expired_key_is_named(archive: SmallArchive, root: Path, tmp_path: Path) -> None:
    home = Path("/tmp") / f"gpg-{tmp_path.name[:20]}"
    home.mkdir(mode=0o700, exist_ok=True)
    gpg = ["gpg", "--homedir", home, "--batch", "--yes", "--quiet", "--passphrase", ""]
    then = ["--faked-system-time", "20200601T000000!"]
    try:
        subprocess.run(
            [*gpg, *then, "--quick-generate-key", "old@example.org", "ed25519", "sign", "1y"],
            check=True,
            capture_output=True,
        )
        for suite in ("noble", "noble-updates", "noble-security"):
            dist = archive.www / "dists" / suite
            subprocess.run(
                [*gpg, *then, "--clearsign", "-o", dist / "InRelease", dist / "Release"],
                check=True,
                capture_output=True,
            )
        key = subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout
    finally:
        end_agent(home)
    error = refused(root, archive.evidence(OPENSSL, files={**NOBLE, KEYRING: key}))
    assert "(old@example.org) has expired" in error.message


def test_sources_of_settings_that_are_gone_are_not_tried(archive: SmallArchive, root: Path) -> None:
    left = {
        "etc/apt/sources.list.d/stock-archive-cloud.sources": (
            f"Types: deb\nURIs: {GONE}\nSuites: noble-updates/caracal\nComponents: main\n"
        ).encode(),
        "etc/apt/sources.list.d/team.list": (
            b"deb https://ppa.launchpadcontent.net/team/name/ubuntu noble main\n"
        ),
    }
    evidence = archive.evidence(OPENSSL, files=NOBLE | left)
    assert tried(root, evidence).startswith("apt reads 127.0.0.1")
    assert "127.0.0.1:1" in refused(root, evidence, cloud_archive="caracal").message


def test_evidence_of_another_series_is_none(archive: SmallArchive, root: Path) -> None:
    archive.server.gone = True
    evidence = archive.evidence(OPENSSL, files=NOBLE)
    assert tried(root, evidence, series="jammy").startswith("not known before the first build")


def test_sources_that_only_a_build_can_judge_are_no_failure(root: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.list"
    odd.write_text("deb file:/srv/archive noble main\n")
    with pytest.raises(DoubtError, match="cannot be tried"):
        tried(root, None, apt_sources=odd)


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_ca_bundle_without_certificates_is_named(tmp_path: Path, content: bytes) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(content)
    with pytest.raises(BuildError, match="cannot be used: it has no CERTIFICATE block") as told:
        try_ca_bundle(BuildSettings(ca_bundle=bundle))
    assert "PEM" in (told.value.hint or "")
    certificate = loopback_certificate(tmp_path)
    assert try_ca_bundle(BuildSettings(ca_bundle=certificate.authority)) == "1 certificates"
