"""An archive that does not answer as it should: nobody knows, and nothing is forgotten."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from retrofit.archive.evidence import DATES, SOURCES_PARTS
from retrofit.archive.offer import ArchiveError
from tests.archive.packages import Package
from tests.archive.small_archive import KEYRING, SmallArchive, signing_key
from tests.component.archive.conftest import Checks

OPENSSL = Package(name="libssl3", version="3.0.13-0", source="openssl")
UNKNOWN_KEY = r"is signed by key [0-9A-F]{16}, which is not among the trusted"
FIXED = dataclasses.replace(OPENSSL, version="3.0.13-1")


def offered(check: Checks, archive: SmallArchive) -> list[str]:
    return [update.candidate for update in check(archive.evidence(OPENSSL)).updates]


@pytest.fixture(autouse=True)
def released(archive: SmallArchive) -> None:
    archive.add("noble", OPENSSL)


def test_an_archive_that_is_gone(archive: SmallArchive, check: Checks) -> None:
    archive.server.gone = True
    with pytest.raises(ArchiveError, match=r"apt-get update failed: .*503"):
        check(archive.evidence(OPENSSL))
    archive.server.gone = False
    archive.add("noble-security", FIXED)
    assert offered(check, archive) == ["3.0.13-1"]
    archive.server.gone = True
    with pytest.raises(ArchiveError, match="503"):
        check(archive.evidence(OPENSSL))
    archive.server.gone = False
    assert offered(check, archive) == ["3.0.13-1"]


def test_an_archive_that_nobody_serves(archive: SmallArchive, check: Checks) -> None:
    nowhere = archive.sources().replace(archive.url.encode(), b"http://127.0.0.1:1/ubuntu")
    evidence = archive.evidence(OPENSSL, files={f"{SOURCES_PARTS}/ubuntu.sources": nowhere})
    with pytest.raises(ArchiveError, match=r"(?i)connect"):
        check(evidence)


@pytest.mark.parametrize("before", [True, False], ids=["known", "new"])
def test_the_signature_of_another_key(archive: SmallArchive, check: Checks, before: bool) -> None:
    if before:
        assert offered(check, archive) == []
    archive.add("noble-security", FIXED)
    with signing_key() as other:
        archive.sign("noble-security", archive.clock + timedelta(minutes=1), home=other)
    for _ in range(2):
        with pytest.raises(ArchiveError, match=UNKNOWN_KEY):
            check(archive.evidence(OPENSSL))
    archive.publish("noble-security")
    assert offered(check, archive) == ["3.0.13-1"]


def test_an_index_that_was_changed_after_it_was_signed(
    archive: SmallArchive, check: Checks
) -> None:
    signed = archive.www / "dists/noble-security/InRelease"
    signed.write_text(signed.read_text().replace("Label: Ubuntu", "Label: Debian"))
    with pytest.raises(ArchiveError, match=r"BADSIG|signature|not signed"):
        check(archive.evidence(OPENSSL))


def test_packages_that_the_index_does_not_name(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble-security", FIXED)
    for file in (archive.www / "dists/noble-security/main/binary-amd64").iterdir():
        file.write_bytes(b"Package: libssl3\nVersion: 4\nArchitecture: amd64\n\n")
    with pytest.raises(ArchiveError, match=r"Hash Sum mismatch|unexpected size"):
        check(archive.evidence(OPENSSL))


@pytest.mark.parametrize("whole", [0, 100], ids=["empty", "begun"])
def test_answers_that_are_cut_short(archive: SmallArchive, check: Checks, whole: int) -> None:
    archive.server.cut = whole
    with pytest.raises(ArchiveError, match="apt-get update failed"):
        check(archive.evidence(OPENSSL))
    archive.server.cut = None
    assert offered(check, archive) == []


def test_an_index_that_has_run_out(archive: SmallArchive, check: Checks) -> None:
    old = datetime.now(UTC) - timedelta(days=30)
    archive.publish("noble-security", date=old, valid_for=timedelta(days=7))
    with pytest.raises(ArchiveError, match="expired"):
        check(archive.evidence(OPENSSL))


def test_a_mirror_that_has_stopped(archive: SmallArchive, check: Checks) -> None:
    evidence = archive.evidence(OPENSSL)
    assert check(evidence).warnings == ()
    later = check(evidence, now=datetime.now(UTC) + timedelta(days=12))
    assert later.updates == ()
    (warning,) = later.warnings
    assert "12 days ago: the mirror may have stopped" in warning


@pytest.mark.parametrize("validators", [True, False])
def test_the_replay_of_an_older_index_takes_nothing_back(
    archive: SmallArchive, check: Checks, validators: bool
) -> None:
    archive.server.validators = validators
    archive.add("noble-security", FIXED)
    before = check(archive.evidence(OPENSSL))
    archive.packages["noble-security"] = []
    archive.publish("noble-security", date=archive.clock - timedelta(hours=1))
    after = check(archive.evidence(OPENSSL))
    assert (after.digest, after.newest_index) == (before.digest, before.newest_index)


def test_the_replay_of_an_older_index_to_an_empty_cache(
    archive: SmallArchive, check: Checks
) -> None:
    archive.add("noble-security", FIXED)
    assert offered(check, archive) == ["3.0.13-1"]
    archive.packages["noble-security"] = []
    archive.publish("noble-security", date=archive.clock - timedelta(hours=1))
    shutil.rmtree(check.root / "lists")
    for _ in range(2):
        with pytest.raises(ArchiveError, match=r"noble-security is of .*, older than that of"):
            check(archive.evidence(OPENSSL))


def test_an_index_older_than_the_build_used(archive: SmallArchive, check: Checks) -> None:
    copy = archive.url.removeprefix("http://").replace("/", "_") + "_dists_noble-security_InRelease"
    date = f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} UTC"
    evidence = archive.evidence(OPENSSL, files={DATES: f"{copy}\t{date}\n".encode()})
    with pytest.raises(ArchiveError, match="older than that of"):
        check(evidence)


def test_an_architecture_that_the_archive_lacks(archive: SmallArchive, check: Checks) -> None:
    check.architecture = "arm64"
    package = dataclasses.replace(OPENSSL, architecture="arm64")
    for _ in range(2):  # the second time, apt itself is silent about it
        with pytest.raises(ArchiveError, match="doesn't support architecture 'arm64'"):
            check(archive.evidence(package))


def test_a_component_that_the_archive_lacks(archive: SmallArchive, check: Checks) -> None:
    sources = archive.sources().replace(b"Components: main", b"Components: main universe")
    evidence = archive.evidence(OPENSSL, files={f"{SOURCES_PARTS}/ubuntu.sources": sources})
    archive.add("noble-security", FIXED)
    for _ in range(2):
        offer = check(evidence)
        assert [update.candidate for update in offer.updates] == ["3.0.13-1"]
        assert len(offer.warnings) == 3
        assert "lacks 'universe/binary-amd64/Packages'" in offer.warnings[0]


def test_packages_that_contradict_each_other(archive: SmallArchive, check: Checks) -> None:
    broken = Package(name="haproxy", version="1", depends="not-there")
    with pytest.raises(ArchiveError, match="apt-get --simulate failed"):
        check(archive.evidence(OPENSSL, broken))


def test_no_key_at_all(archive: SmallArchive, check: Checks) -> None:
    evidence = archive.evidence(OPENSSL)
    without = dataclasses.replace(
        evidence,
        files={
            **{name: data for name, data in evidence.files.items() if name != KEYRING},
            f"{SOURCES_PARTS}/ubuntu.sources": archive.sources().split(b"Signed-By")[0],
        },
    )
    with pytest.raises(ArchiveError, match=UNKNOWN_KEY):
        check(without)
