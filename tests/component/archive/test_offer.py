"""What apt answers for a planted archive: each case is a rebuild loop or a blind eye."""

from __future__ import annotations

import dataclasses
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from retrofit.archive import private_root
from retrofit.archive.evidence import STATUS
from retrofit.archive.offer import Update, UpdateKind
from tests.archive.packages import Package, file_of, status_of
from tests.archive.small_archive import SmallArchive
from tests.component.archive.conftest import Checks, kinds

HAPROXY = Package(name="haproxy", version="2.8.5-1", depends="libssl3")
OPENSSL = Package(name="libssl3", version="3.0.13-0", source="openssl")
KERNEL = Package(name="linux-image-virtual", version="6.8.0.50")


def newer(package: Package, version: str, **changes: object) -> Package:
    return dataclasses.replace(package, version=version, **changes)  # type: ignore[arg-type]


def test_nothing_is_offered_right_after_a_build(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble", HAPROXY, OPENSSL)
    offer = check(archive.evidence(HAPROXY, OPENSSL))
    assert offer.updates == ()
    assert offer.warnings == ()
    assert offer.newest_index is not None
    # Of noble-security, which was published before noble was published again.
    assert offer.newest_index == (archive.clock - timedelta(minutes=1)).replace(microsecond=0)


def test_nothing_is_offered_to_a_status_that_dpkg_wrote(
    archive: SmallArchive, check: Checks, tmp_path: Path
) -> None:
    archive.add("noble", HAPROXY, OPENSSL)
    image = tmp_path / "image"
    (image / "var/lib/dpkg/info").mkdir(parents=True)
    (image / "var/lib/dpkg/updates").mkdir()
    (image / "var/lib/dpkg/status").touch()
    files = []
    for package in (HAPROXY, OPENSSL):
        files.append(tmp_path / f"{package.name}.deb")
        files[-1].write_bytes(file_of(package))
    options = ["--force-not-root", "--force-bad-path", "--force-script-chrootless"]
    subprocess.run(
        ["dpkg", "--root", image, *options, "--install", *files],
        check=True,
        capture_output=True,
    )
    status = (image / "var/lib/dpkg/status").read_bytes()
    assert b"Status: install ok installed" in status
    assert check(archive.evidence(HAPROXY, files={STATUS: status})).updates == ()


def test_a_planted_fix_is_found(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble", HAPROXY, OPENSSL)
    archive.add("noble-security", newer(OPENSSL, "3.0.13-0ubuntu3.1"))
    archive.add("noble-updates", newer(HAPROXY, "2.8.5-1ubuntu3.2"))
    assert check(archive.evidence(HAPROXY, OPENSSL)).updates == (
        Update(
            package="haproxy",
            source="haproxy",
            installed="2.8.5-1",
            candidate="2.8.5-1ubuntu3.2",
            kind=UpdateKind.OTHER,
        ),
        Update(
            package="libssl3",
            source="openssl",
            installed="3.0.13-0",
            candidate="3.0.13-0ubuntu3.1",
            kind=UpdateKind.SECURITY,
        ),
    )


def test_a_superseded_fix_is_found(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble", OPENSSL)
    archive.add("noble-security", newer(OPENSSL, "3.0.13-1"))
    archive.add("noble-updates", newer(OPENSSL, "3.0.13-2"))
    (update,) = check(archive.evidence(OPENSSL)).updates
    assert (update.candidate, update.kind) == ("3.0.13-2", UpdateKind.SECURITY)


def test_a_fix_that_the_image_has_is_no_reason_for_a_later_update(
    archive: SmallArchive, check: Checks
) -> None:
    fixed = newer(OPENSSL, "3.0.13-1")
    archive.add("noble", OPENSSL)
    archive.add("noble-security", fixed)
    archive.add("noble-updates", newer(OPENSSL, "3.0.13-2"))
    (update,) = check(archive.evidence(fixed)).updates
    assert update.kind is UpdateKind.OTHER


def test_a_fix_above_the_candidate_is_out_of_reach(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble", OPENSSL)
    archive.add("noble-updates", newer(OPENSSL, "3.0.13-1"))
    archive.add("noble-security", newer(OPENSSL, "3.0.13-2"))
    pin = b"Package: libssl3\nPin: release a=noble-security\nPin-Priority: -1\n"
    evidence = archive.evidence(OPENSSL, files={"etc/apt/preferences.d/pin": pin})
    (update,) = check(evidence).updates
    assert (update.candidate, update.kind) == ("3.0.13-1", UpdateKind.OTHER)


def test_a_phased_update_counts(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble", HAPROXY, OPENSSL)
    archive.add("noble-updates", newer(HAPROXY, "2.8.6-1", phased=0))
    assert kinds(check(archive.evidence(HAPROXY, OPENSSL))) == {"haproxy": UpdateKind.OTHER}


def test_a_phased_update_counts_where_apt_knows_a_machine(
    archive: SmallArchive, check: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a machine id, as in a build's chroot, apt takes phased updates in any case.
    archive.add("noble", HAPROXY, OPENSSL)
    archive.add("noble-updates", newer(HAPROXY, "2.8.6-1", phased=0))
    known = f'{private_root.CONFIGURATION}APT::Machine-ID "{"1" * 32}";\n'
    monkeypatch.setattr(private_root, "CONFIGURATION", known)
    assert kinds(check(archive.evidence(HAPROXY, OPENSSL))) == {"haproxy": UpdateKind.OTHER}


def test_what_needs_a_package_that_the_build_held_is_held_back(
    archive: SmallArchive, check: Checks
) -> None:
    archive.add("noble", KERNEL, HAPROXY, OPENSSL)
    archive.add("noble-updates", newer(KERNEL, "6.8.0.51"))
    archive.add(
        "noble-security",
        newer(HAPROXY, "2.8.6-1", depends=f"libssl3, {KERNEL.name} (>= 6.8.0.51)"),
    )
    offer = check(archive.evidence(KERNEL, HAPROXY, OPENSSL, held=[KERNEL.name]))
    assert kinds(offer) == {"haproxy": UpdateKind.HELD, KERNEL.name: UpdateKind.HELD}
    offer = check(archive.evidence(KERNEL, HAPROXY, OPENSSL))
    assert kinds(offer) == {"haproxy": UpdateKind.SECURITY, KERNEL.name: UpdateKind.OTHER}


def test_what_the_build_held_is_held(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble", KERNEL, OPENSSL, HAPROXY)
    archive.add("noble-security", newer(KERNEL, "6.8.0.51"))
    archive.add("noble-updates", newer(OPENSSL, "3.0.13-1"))
    evidence = archive.evidence(KERNEL, OPENSSL, HAPROXY, held=[KERNEL.name])
    kernel, openssl = sorted(check(evidence).updates, key=lambda update: update.kind)
    assert (kernel.package, kernel.kind, kernel.has_fix) == (
        KERNEL.name, UpdateKind.HELD, True,
    )  # fmt: skip
    assert (openssl.kind, openssl.has_fix) == (UpdateKind.OTHER, False)


def test_what_dpkg_holds_is_held(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble", KERNEL)
    archive.add("noble-updates", newer(KERNEL, "6.8.0.51"))
    evidence = archive.evidence(KERNEL, files={STATUS: status_of(KERNEL, held=(KERNEL.name,))})
    (update,) = check(evidence).updates
    assert (update.kind, update.has_fix) == (UpdateKind.HELD, False)


def test_what_cannot_be_installed_is_held_back(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble", HAPROXY, OPENSSL)
    archive.add("noble-security", newer(HAPROXY, "2.8.6-1", depends="not-in-the-archive"))
    (update,) = check(archive.evidence(HAPROXY, OPENSSL)).updates
    assert (update.kind, update.has_fix) == (UpdateKind.HELD, True)


def test_an_update_with_a_new_dependency_counts(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble", HAPROXY, OPENSSL)
    archive.add(
        "noble-security",
        newer(HAPROXY, "2.8.6-1", depends="libssl3, libnew1"),
        Package(name="libnew1", version="1"),
    )
    # The dependency comes with it: an image cannot lack a fix of what it does not have.
    assert kinds(check(archive.evidence(HAPROXY, OPENSSL))) == {"haproxy": UpdateKind.SECURITY}


def test_another_build_of_the_same_version_is_no_update(
    archive: SmallArchive, check: Checks
) -> None:
    archive.add("noble", HAPROXY, OPENSSL)
    cut = dataclasses.replace(OPENSSL, installed_size=99)
    root_before = check(archive.evidence(HAPROXY, cut))
    assert root_before.updates == ()
    # apt itself calls it an upgrade, which is the trap.
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "APT_CONFIG": f"{check.root}/apt.conf"}
    simulated = subprocess.run(
        ["apt-get", "--simulate", "dist-upgrade"],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "Inst libssl3 [3.0.13-0] (3.0.13-0" in simulated.stdout


def test_a_whole_status_leads_to_no_such_upgrade(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble", HAPROXY, OPENSSL)
    check(archive.evidence(HAPROXY, OPENSSL))
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "APT_CONFIG": f"{check.root}/apt.conf"}
    simulated = subprocess.run(
        ["apt-get", "--simulate", "dist-upgrade"],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "Inst" not in simulated.stdout


def test_labels_of_debian_count(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble", OPENSSL)
    archive.add("noble-updates", newer(OPENSSL, "3.0.13-1"))
    dist = archive.www / "dists/noble-updates"
    release = (dist / "Release").read_text().replace("Label: Ubuntu", "Label: Debian-Security")
    (dist / "Release").write_text(release)
    archive.sign("noble-updates", archive.clock)
    assert kinds(check(archive.evidence(OPENSSL))) == {"libssl3": UpdateKind.SECURITY}
