"""Evidence travels through a file that others may have written."""

from __future__ import annotations

import io
import lzma
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.archive.evidence import (
    HELD,
    STATUS,
    Evidence,
    EvidenceError,
    is_evidence,
    pack,
    unpack,
)

FILES = {
    STATUS: b"Package: a\nStatus: install ok installed\nVersion: 1\n\n",
    HELD: b"linux-image-amd64\ngrub-pc\n",
    "etc/apt/sources.list.d/ubuntu.sources": b"Types: deb\n",
    "usr/share/keyrings/ubuntu-archive-keyring.gpg": b"\x99\x01",
}


def archive_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return lzma.compress(written.getvalue())


@given(st.dictionaries(st.sampled_from(sorted(FILES)), st.binary(max_size=300)))
def test_round_trip(files: dict[str, bytes]) -> None:
    evidence = Evidence(files={**FILES, **files, STATUS: FILES[STATUS]})
    assert unpack(pack(evidence)) == evidence


def test_the_same_evidence_has_the_same_bytes_in_any_order() -> None:
    backwards = dict(reversed(FILES.items()))
    assert pack(Evidence(files=FILES)) == pack(Evidence(files=backwards))


def test_held_packages() -> None:
    assert Evidence(files=FILES).held == {"linux-image-amd64", "grub-pc"}


@pytest.mark.parametrize(
    "name",
    [
        "etc/shadow",
        "/var/lib/dpkg/status",
        "etc/apt/sources.list.d/../../shadow",
        "etc/apt/sources.list.d/sub/a.list",
        "etc/apt/sources.list.d/",
        "etc/apt/sources.list.d/.hidden",
        "etc/apt/apt.conf.d/99proxy",
        "etc/apt/sources.list.d/a\n.list",
        "etc//apt/sources.list",
    ],
)
def test_other_files_are_refused(name: str) -> None:
    assert not is_evidence(name)
    with pytest.raises(EvidenceError, match="has a file"):
        unpack(archive_of((tarfile.TarInfo(STATUS), b"x"), (tarfile.TarInfo(name), b"x")))


def test_a_link_is_refused() -> None:
    link = tarfile.TarInfo("etc/apt/sources.list")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
    with pytest.raises(EvidenceError, match="entry"):
        unpack(archive_of((tarfile.TarInfo(STATUS), b"x"), (link, b"")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no xz",
        lzma.compress(b"no tar" * 1000),
        pack(Evidence(files=FILES))[:-20],
        lzma.compress(bytes(80 << 20)),
        archive_of((tarfile.TarInfo("etc/os-release"), b"x")),
    ],
    ids=["empty", "text", "no tar", "cut", "bomb", "no status"],
)
def test_what_no_build_made_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        unpack(data)
