"""Sources of an image are data of others: apt gets what is known and harmless."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retrofit.archive.collect import with_settings
from retrofit.archive.evidence import OS_RELEASE, STATUS, Evidence
from retrofit.archive.mirrors import mirrored
from retrofit.archive.offer import ArchiveError
from retrofit.archive.sources import MOST_BYTES, Entry, entries_of, parse
from retrofit.config import BuildSettings

LIST, DEB822 = "etc/apt/sources.list", "etc/apt/sources.list.d/ubuntu.sources"
KEYRING = "usr/share/keyrings/ubuntu-archive-keyring.gpg"
GOOD = f"""\
# See sources.list(5).
Types: deb deb-src
URIs: http://archive.ubuntu.com/ubuntu/
# a comment between
Suites: noble noble-updates
 noble-backports
Components: main universe
Signed-By: /{KEYRING}
X-Repolib-Name: Ubuntu

Enabled: no
Types: deb
URIs: file:///srv
Suites: ./

Types: deb-src
URIs: cdrom:[x]/
Suites: noble
"""


def evidence(**files: bytes | str) -> Evidence:
    whole = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    return Evidence(files={STATUS: b"Package: a\n", KEYRING: b"key", **whole})


def entries(name: str, text: str) -> tuple[Entry, ...]:
    return entries_of(evidence(**{name: text}))


def test_deb822_style() -> None:
    (entry,) = entries(DEB822, GOOD)
    assert entry == Entry(
        where=f"{DEB822}, line 2",
        uris=("http://archive.ubuntu.com/ubuntu/",),
        suites=("noble", "noble-updates", "noble-backports"),
        components=("main", "universe"),
        signed_by=(f"/{KEYRING}",),
    )


def test_one_line_style() -> None:
    text = f"""
# deb cdrom:[Ubuntu 24.04]/ noble main
deb [arch=amd64,arm64 signed-by=/{KEYRING}] https://example.org/ubuntu noble main # ours
deb-src file:/srv noble main
deb http://user:word@example.org:8080/debian/ ./
"""
    first, second = entries(LIST, text)
    assert (first.uris, first.suites, first.components, first.architectures) == (
        ("https://example.org/ubuntu",), ("noble",), ("main",), ("amd64", "arm64"),
    )  # fmt: skip
    assert first.signed_by == (f"/{KEYRING}",)
    assert (second.suites, second.components) == (("./",), ())


def test_a_key_in_the_entry_itself() -> None:
    text = (
        "Types: deb\nURIs: http://h/\nSuites: noble\nComponents: main\nSigned-By:\n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEZ+/=\n =abcd\n"
        " -----END PGP PUBLIC KEY BLOCK-----\n"
    )
    (entry,) = entries(DEB822, text)
    assert entry.key.splitlines()[:3] == ["-----BEGIN PGP PUBLIC KEY BLOCK-----", "", "mDMEZ+/="]
    assert entry.written() == text


def test_paths_are_those_of_the_private_root() -> None:
    (entry,) = entries(DEB822, GOOD)
    assert f"Signed-By: /root/{KEYRING}\n" in entry.written(lambda path: f"/root{path}")


ONE_LINE = [
    "deb [trusted=yes] http://h/ noble main",
    "deb [ trusted=true ] http://h/ noble main",
    "deb [TRUSTED=YES] http://h/ noble main",
    "deb [allow-insecure=yes] http://h/ noble main",
    "deb [allow-weak=yes] http://h/ noble main",
    "deb [allow-downgrade-to-insecure=yes] http://h/ noble main",
    "deb [by-hash=no trusted=] http://h/ noble main",
    "deb [trusted] http://h/ noble main",
    "deb[trusted=yes] http://h/ noble main",
    "deb file:/var/lib/secrets ./",
    "deb file:///etc ./",
    "deb copy:/etc ./",
    "deb cdrom:[Debian]/ bookworm main",
    "deb mirror+file:/etc/mirrors noble main",
    "deb mirror+http://h/list noble main",
    "deb mirror://h/list noble main",
    "deb ftp://h/ noble main",
    "deb ssh://h/ noble main",
    "deb rsh://h/ noble main",
    "deb tor+http://h/ noble main",
    "deb store:/etc/shadow ./",
    "deb HTTP+file:/etc ./",
    "deb http:/etc ./",
    "deb [signed-by=/etc/shadow] http://h/ noble main",
    "deb [signed-by=/usr/share/keyrings/../../../etc/shadow] http://h/ noble main",
    "deb [signed-by=/usr/share/keyrings/other.gpg] http://h/ noble main",
    "deb [signed-by=keyring.gpg] http://h/ noble main",
    "deb [arch=../x] http://h/ noble main",
    "deb [arch-=amd64] http://h/ noble main",
    "deb [inrelease-path=../../x] http://h/ noble main",
    "deb [snapshot=20240101T000000Z] http://h/ noble main",
    "deb [future-option=1] http://h/ noble main",
    "deb http://h/ ../../etc main",
    "deb http://h/ noble ../main",
    'deb "http://h/" noble main',
    "deb http://h/",
    "rpm http://h/ noble main",
    "include /etc/apt/other.list",
    "deb http://h/ noble main\x00",
    "deb http://h/ noble " + "main " * 1000,
    "deb http://h/ " + "a" * (1 << 20),
]


@pytest.mark.parametrize("line", ONE_LINE, ids=lambda line: line[:50])
def test_entries_that_do_not_pass(line: str) -> None:
    with pytest.raises(ArchiveError) as refused:
        entries(LIST, f"deb http://h/ noble main\n{line}\n")
    assert f"{LIST}" in refused.value.message
    assert len(refused.value.message) < 300


FIELDS = [
    "Trusted: yes",
    "trusted: YES",
    "Trusted:\n yes",
    "Allow-Insecure: yes",
    "Allow-Weak: true",
    "Signed-By: /etc/shadow",
    "Signed-By: /etc/apt/keyrings/../../shadow",
    "Signed-By:\n -----BEGIN PGP PRIVATE KEY BLOCK-----\n .\n x",
    "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n ~",
    "Snapshot: 20240101T000000Z",
    "InRelease-Path: ../x",
    "Include: a",
    "Architectures-Remove: amd64",
    "URIs: http://other/",
    "no field",
]


@pytest.mark.parametrize("field", FIELDS)
def test_fields_that_do_not_pass(field: str) -> None:
    with pytest.raises(ArchiveError, match=r"ubuntu\.sources"):
        entries(DEB822, f"Types: deb\nURIs: http://h/\nSuites: noble\nComponents: main\n{field}\n")


@pytest.mark.parametrize(
    "paragraph",
    [
        "Types: deb\nURIs: file:/etc\nSuites: ./\n",
        "Types: deb\nURIs: http://h/\n file:/etc\nSuites: ./\n",
        "Types: deb\nSuites: ./\n",
        "Types: deb\nURIs: http://h/\n",
        "Types: rpm\nURIs: http://h/\nSuites: ./\n",
        "URIs: http://h/\nSuites: ./\n",
        " continues: nothing\n",
    ],
)
def test_paragraphs_that_do_not_pass(paragraph: str) -> None:
    with pytest.raises(ArchiveError):
        entries(DEB822, paragraph)


def test_what_makes_apt_stricter_is_left_out() -> None:
    line = "deb [trusted=no check-valid-until=no by-hash=force lang=en] http://h/ noble main"
    (entry,) = entries(LIST, line)
    assert entry.written() == "Types: deb\nURIs: http://h/\nSuites: noble\nComponents: main\n"


def test_files_that_apt_does_not_read_do_not_count() -> None:
    with pytest.raises(ArchiveError, match="name no archive"):
        entries("etc/apt/sources.list.d/ubuntu.sources.save", GOOD)


def test_too_many_and_too_much() -> None:
    with pytest.raises(ArchiveError, match="more than 200 indexes"):
        entries(LIST, "deb http://h/ noble main universe\n" * 101)
    with pytest.raises(ArchiveError, match="more than 1 MiB"):
        entries(LIST, "#\n" * MOST_BYTES)


SOURCES_OF_THE_BUILD = {
    "etc/apt/sources.list.d/stock-archive.list": "deb http://taken-out/ noble main",
    "etc/apt/sources.list.d/stock-archive-cloud.sources": (
        "Types: deb\nURIs: http://cloud/\nSuites: noble-updates/caracal\nComponents: main\n"
    ),
    "etc/apt/sources.list.d/ppa.list": "deb http://ppa/ noble main",
}


def test_the_sources_of_the_settings_take_the_place_of_those_of_the_build() -> None:
    found = entries_of(
        evidence(**SOURCES_OF_THE_BUILD), instead=b"Types: deb\nURIs: https://me:pw@h/\nSuites: x\n"
    )
    assert [entry.uris[0] for entry in found] == [
        "http://ppa/",
        "http://cloud/",
        "https://me:pw@h/",
    ]


def test_the_sources_of_the_settings_take_the_place_of_the_images_own() -> None:
    found = entries_of(
        evidence(**{LIST: "deb http://own/ noble main"}), instead=b"deb http://h/ x y"
    )
    assert [entry.uris[0] for entry in found] == ["http://h/"]


def test_sources_that_were_put_together_from_the_settings(tmp_path: Path) -> None:
    mine = tmp_path / "mine.list"
    mine.write_text("deb http://mine/ noble main\n")
    settings = BuildSettings(apt_sources=mine, cloud_archive="caracal")
    keyring = "usr/share/keyrings/ubuntu-cloud-keyring.gpg"
    os_release = b"ID=ubuntu\nVERSION_CODENAME=noble\n"
    files = {
        STATUS: b"Package: a\n",
        keyring: b"key",
        OS_RELEASE: os_release,
        DEB822: GOOD.encode(),
    }
    lost = Evidence(files=with_settings(files, settings))
    found = mirrored(
        entries_of(lost, instead=mine.read_bytes()),
        BuildSettings(archive_mirror="http://other/", cloud_archive_mirror="http://mirror/cloud"),
    )
    assert sorted(entry.uris[0] for entry in found) == ["http://mine/", "http://mirror/cloud"]


WORDS = st.text(
    st.sampled_from("deb http://[]=trusted yes:file#\n\t ,./abURIsSuitesTypes-\x00é"), max_size=80
)


@given(st.sampled_from([LIST, DEB822]), st.lists(WORDS, max_size=8))
@example(LIST, ["deb http://h/ noble main"])
def test_what_passes_is_written_as_it_was_read(name: str, lines: list[str]) -> None:
    try:
        found = parse(name, "\n".join(lines).encode())
    except ArchiveError:
        return
    for entry in found:
        assert all(uri.startswith(("http://", "https://")) for uri in entry.uris)
        (again,) = parse("again.sources", entry.written().encode())
        assert dataclasses.replace(again, where=entry.where) == entry


@given(st.sampled_from([LIST, DEB822]), st.binary(max_size=300))
def test_no_bytes_break_it(name: str, data: bytes) -> None:
    refused = None
    try:
        parse(name, data)
    except ArchiveError as error:
        refused = error
    assert refused is None or refused.message.isprintable()
