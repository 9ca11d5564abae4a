"""Of an image's files evidence has those that apt needs, and no password."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from retrofit.archive.collect import from_tar, of_files, with_settings
from retrofit.archive.evidence import (
    BUILD_SOURCES,
    CLOUD_ARCHIVE_SOURCES,
    STATUS,
    EvidenceError,
)
from retrofit.config import BuildSettings

UBUNTU = "etc/apt/sources.list.d/ubuntu.sources"
KEYRING = "usr/share/keyrings/ubuntu-archive-keyring.gpg"
SOURCE = (
    b"Types: deb\nURIs: https://user:secret@archive.example/ubuntu\nSuites: noble\n"
    b"Components: main\nSigned-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n"
)


def tar_of(directory: Path, members: dict[str, bytes], **links: str) -> Path:
    path = directory / "evidence.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


def test_no_credentials_are_kept() -> None:
    sources = {
        UBUNTU: SOURCE,
        "etc/apt/sources.list": b"deb http://token@ppa.example/x noble main\n",
    }
    evidence = of_files({STATUS: b"x", **sources})
    assert b"https://archive.example/ubuntu" in evidence.files[UBUNTU]
    assert not any(b"secret" in data or b"token" in data for data in evidence.files.values())


def test_keyrings_are_those_that_sources_name_and_those_that_all_trust() -> None:
    evidence = of_files(
        {
            STATUS: b"x",
            UBUNTU: SOURCE,
            KEYRING: b"1",
            "usr/share/keyrings/ubuntu-pro-esm.gpg": b"2",
            "etc/apt/keyrings/other.asc": b"3",
            "etc/apt/trusted.gpg.d/ppa.gpg": b"4",
        }
    )
    assert sorted(evidence.files) == [
        "etc/apt/sources.list.d/ubuntu.sources",
        "etc/apt/trusted.gpg.d/ppa.gpg",
        KEYRING,
        STATUS,
    ]


def test_sources_that_apt_does_not_read_are_left_out() -> None:
    evidence = of_files({STATUS: b"x", f"{UBUNTU}.save": SOURCE, UBUNTU: SOURCE})
    assert sorted(evidence.files) == [UBUNTU, STATUS]


def test_links_and_other_files_of_a_tar_are_left_out(tmp_path: Path) -> None:
    members = {f"./{STATUS}": b"x", "./etc/shadow": b"root", f"./{UBUNTU}": SOURCE}
    path = tar_of(tmp_path, members, **{"./etc/apt/sources.list": "/etc/shadow"})
    assert sorted(from_tar(path).files) == [UBUNTU, STATUS]


@pytest.mark.parametrize("content", [b"", b"no tar" * 1000])
def test_a_file_that_is_no_tar_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "evidence.tar"
    path.write_bytes(content)
    with pytest.raises(EvidenceError):
        from_tar(path)


def test_without_a_status_there_is_no_evidence(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="no dpkg status"):
        from_tar(tar_of(tmp_path, {f"./{UBUNTU}": SOURCE}))


STATUS_OF_A_SERVER = "".join(
    f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n"
    for name in (
        "linux-image-generic",
        "linux-base",
        "linux-libc-dev",
        "grub-pc",
        "shim-signed",
        "a1",
    )
).encode()
LOST = {STATUS: STATUS_OF_A_SERVER, UBUNTU: SOURCE, "etc/os-release": b"VERSION_CODENAME=noble\n"}


@pytest.mark.parametrize(
    ("upgrade", "held"),
    [
        ("packages", {"linux-image-generic", "grub-pc", "shim-signed"}),
        ("none", {"linux-image-generic", "grub-pc", "shim-signed"}),
        ("all", {"grub-pc", "shim-signed"}),
    ],
)
def test_an_image_whose_evidence_is_lost_has_held_what_a_build_holds(
    upgrade: str, held: set[str]
) -> None:
    build = BuildSettings.model_validate({"upgrade": upgrade})
    assert of_files(with_settings(LOST, build)).held == held


def test_sources_are_then_those_of_the_settings(tmp_path: Path) -> None:
    given = tmp_path / "sources"
    given.write_text("Types: deb\nURIs: https://u:p@in.example/ubuntu\nSuites: noble\n")
    build = BuildSettings(apt_sources=given, cloud_archive="caracal-proposed")
    evidence = of_files(with_settings(LOST, build))
    assert UBUNTU not in evidence.files
    assert b"URIs: https://in.example/ubuntu" in evidence.files[f"{BUILD_SOURCES}sources"]
    cloud = evidence.files[CLOUD_ARCHIVE_SOURCES]
    assert b"Suites: noble-proposed/caracal\n" in cloud


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (BuildSettings(ppas=("ppa:a/b",)), "build.ppas"),
        (BuildSettings(cloud_archive="caracal"), "no release"),
    ],
)
def test_what_only_a_build_knows_is_said(build: BuildSettings, why: str) -> None:
    files = {name: data for name, data in LOST.items() if name != "etc/os-release"}
    with pytest.raises(EvidenceError, match=why):
        with_settings(files, build)
