"""Which vulnerabilities an update fixes, by records that others wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.archive.advisories import Matcher, Release, release_of, with_ids
from retrofit.archive.offer import Update, UpdateKind
from tests.archive.osv import as_bytes, record

NOBLE = Release(id="ubuntu", version="24.04")


def update(kind: str = "other", **fields: Any) -> Update:
    values = {"package": "haproxy", "source": "haproxy", "installed": "1.0", "candidate": "1.1"}
    return Update(**{**values, **fields}, kind=UpdateKind(kind))


def ids(data: bytes, *updates: Update, release: Release = NOBLE) -> list[str]:
    """Return the ids of all updates together."""
    matcher = Matcher(updates or (update(),), release)
    matcher.read(data)
    return sorted({each for found in matcher.found.values() for each in found})


def fixed(*events: tuple[str, str], **fields: Any) -> bool:
    return bool(ids(as_bytes(record("haproxy", *events)), update(**fields)))


class TestRanges:
    def test_a_fix_between_installed_and_candidate_counts(self) -> None:
        assert fixed(("introduced", "0"), ("fixed", "1.1"))
        assert fixed(("introduced", "0"), ("fixed", "1.0.5"))
        assert fixed(("introduced", "1.0"), ("fixed", "1.1"))
        assert fixed(("introduced", "0"), ("last_affected", "1.0"))
        assert fixed(("fixed", "1.1"), ("introduced", "0"))

    @pytest.mark.parametrize(
        "events",
        [
            [("introduced", "0")],
            [("introduced", "0"), ("fixed", "1.0")],
            [("introduced", "0"), ("fixed", "1.2")],
            [("introduced", "1.0.1"), ("fixed", "1.1")],
            [("introduced", "0"), ("last_affected", "0.9")],
            [("introduced", "0"), ("last_affected", "1.1")],
            [("introduced", "0"), ("fixed", "1.0.5"), ("introduced", "1.0.7")],
            [("fixed", "1.1")],
            [],
        ],
    )
    def test_others_do_not(self, events: list[tuple[str, str]]) -> None:
        entry = record("haproxy")
        entry["affected"][0]["ranges"][0]["events"] = [{kind: at} for kind, at in events]
        assert ids(as_bytes(entry)) == []

    def test_versions_are_those_of_the_source(self) -> None:
        dmsetup = update(
            package="dmsetup", source="lvm2", installed="2:1.02.185-3", candidate="2:1.02.185-4",
            source_installed="2.03.16-3", source_candidate="2.03.16-4",
        )  # fmt: skip
        lvm2 = record("lvm2", ("introduced", "0"), ("fixed", "2.03.16-4"))
        assert ids(as_bytes(lvm2), dmsetup) == ["CVE-2026-1234"]

    def test_a_listed_version_is_affected(self) -> None:
        entry = record("haproxy", ("introduced", "1.0.2"), ("fixed", "1.1"))
        assert ids(as_bytes(entry)) == []
        entry["affected"][0]["versions"] = ["1.0"]
        assert ids(as_bytes(entry)) == ["CVE-2026-1234"]

    def test_ranges_of_commits_are_none(self) -> None:
        entry = record("haproxy")
        entry["affected"][0]["ranges"][0]["type"] = "GIT"
        assert ids(as_bytes(entry)) == []


class TestWhom:
    @pytest.mark.parametrize(
        ("ecosystem", "release", "concerned"),
        [
            ("Ubuntu:24.04:LTS", NOBLE, True),
            ("Ubuntu:24.04", NOBLE, True),
            ("Ubuntu:22.04:LTS", NOBLE, False),
            ("Ubuntu:Pro:24.04:LTS", NOBLE, False),
            ("Ubuntu", NOBLE, False),
            ("Debian:12", Release(id="debian", version="12"), True),
            ("Debian:12", NOBLE, False),
            ("PyPI", NOBLE, False),
            ("", Release(id="", version=""), False),
        ],
    )
    def test_a_release_of_a_distribution(
        self, ecosystem: str, release: Release, concerned: bool
    ) -> None:
        found = ids(as_bytes(record(ecosystem=ecosystem)), release=release)
        assert bool(found) is concerned

    def test_the_source_package_not_the_binary(self) -> None:
        library = update(package="libssl3", source="openssl")
        assert ids(as_bytes(record("openssl")), library) == ["CVE-2026-1234"]
        assert ids(as_bytes(record("libssl3")), library) == []

    @pytest.mark.parametrize("name", ["oslo-config", "Oslo.Config", "oslo_config"])
    def test_a_distribution_of_python(self, name: str) -> None:
        release = update("agent", package="oslo-config", source="oslo-config")
        assert ids(as_bytes(record(name, ecosystem="PyPI")), release) == ["CVE-2026-1234"]
        assert ids(as_bytes(record(name)), release) == []

    def test_versions_of_python_are_compared_as_python_does(self) -> None:
        release = update("agent", package="x", source="x", installed="1.0rc1", candidate="1.0")
        entry = record("x", ("introduced", "0"), ("fixed", "1.0"), ecosystem="PyPI")
        assert ids(as_bytes(entry), release)
        commits = update("agent", package="x", source="x", installed="ab" * 6, candidate="cd" * 6)
        assert ids(as_bytes(entry), commits) == []


class TestIds:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"ids": ("UBUNTU-CVE-2026-1234",)}, ["CVE-2026-1234"]),
            ({"ids": ("GHSA-x", "CVE-2026-1234")}, ["CVE-2026-1234"]),
            ({"ids": ("USN-1-1",), "upstream": ["CVE-2026-1", "CVE-2026-1234"]}, ["CVE-2026-1234"]),
            ({"ids": ("USN-1-1",), "related": ["CVE-2026-1234"]}, ["CVE-2026-1234"]),
            ({"ids": ("CVE-2026-1234",), "related": ["CVE-2026-9999"]}, ["CVE-2026-1234"]),
            ({"ids": ("PYSEC-2026-1",)}, ["PYSEC-2026-1"]),
            ({"ids": ("<script>",)}, []),
            ({"ids": ("x" * 1000,)}, []),
            ({"withdrawn": "2026-01-01T00:00:00Z"}, []),
        ],
    )
    def test_of_a_record(self, fields: dict[str, Any], expected: list[str]) -> None:
        assert ids(as_bytes(record(**fields))) == expected

    def test_of_several_records_in_one_file(self) -> None:
        several = [record(ids=(f"CVE-2026-{number}",)) for number in (2000, 1000)]
        assert ids(as_bytes(*several)) == ["CVE-2026-1000", "CVE-2026-2000"]
        assert ids(json.dumps({"vulns": several}).encode()) == ["CVE-2026-1000", "CVE-2026-2000"]


HOSTILE = [
    b'"haproxy"' + b"[" * 200_000,
    b'"haproxy"',
    b'["haproxy", 1, null, {"affected": "x"}]',
    json.dumps({"id": 1, "affected": [{"package": "haproxy"}]}).encode(),
    json.dumps({"id": "haproxy", "affected": {"a": 1}}).encode(),
    as_bytes({**record(), "affected": [{**record()["affected"][0], "ranges": [1, {"type": 2}]}]}),
    as_bytes(record("haproxy", ("introduced", "0"), ("fixed", "9" * 100_000))),
    as_bytes(record("haproxy", *[("introduced", "0"), ("fixed", "9")] * 5000)),
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_records_fix_nothing(data: bytes) -> None:
    matcher = Matcher([update()], NOBLE)
    try:
        matcher.read(data)
    except ValueError:
        pass
    assert matcher.found == {}


def test_what_names_no_package_of_ours_is_not_parsed() -> None:
    Matcher([update()], NOBLE).read(b"[" * 1_000_000)


@given(
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=5), st.just("haproxy")),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["affected", "package", "ranges", "events", "fixed", "introduced", "name",
                     "ecosystem", "type", "versions", "vulns", "id", "aliases"]
                ),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=30,
    )
)  # fmt: skip
def test_any_json_is_read(document: Any) -> None:
    matcher = Matcher([update()], NOBLE)
    matcher.read(json.dumps([document, "haproxy"]).encode())


@pytest.mark.parametrize(
    ("kind", "becomes", "has_fix"),
    [("other", "security", False), ("security", "security", False), ("held", "held", True),
     ("agent", "agent", True)],
)  # fmt: skip
def test_what_fixes_something_is_a_security_fix(kind: str, becomes: str, has_fix: bool) -> None:
    known = update(kind)
    (named,) = with_ids([known], {known.key: ("CVE-2026-1234",)})
    assert (named.kind, named.has_fix, named.is_fix) == (UpdateKind(becomes), has_fix, True)
    assert named.cves == ("CVE-2026-1234",)
    assert list(with_ids([known], {})) == [known]


def test_the_release_of_an_image() -> None:
    assert release_of(b'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n') == NOBLE
    assert release_of(b"\xff") == Release(id="", version="")
