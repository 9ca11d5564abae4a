"""The agent's Python distributions: as evidence has them, and what programs answer about them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.archive.agent import (
    MOST,
    Distribution,
    agent_of,
    commit_of,
    is_later,
    moved,
    newer,
    resolved,
    written,
)
from retrofit.archive.evidence import AGENT, STATUS, Evidence
from retrofit.archive.offer import Offer, Update, UpdateKind
from tests.unit.images import NOW

COMMIT, OTHER = "a" * 40, "b" * 40
GIT = Distribution(
    name="octavia", version="18.0.1.dev3", url="https://git.example/x", ref="master", commit=COMMIT
)


def of(data: bytes) -> tuple[Distribution, ...]:
    return agent_of(Evidence(files={STATUS: b"Package: a\n", AGENT: data}))


def test_distributions_are_read_as_they_were_written() -> None:
    several = (Distribution(name="flask", version="2.0"), GIT)
    assert of(written(several)) == several
    assert written(reversed(several)) == written(several)
    assert agent_of(Evidence(files={STATUS: b"Package: a\n"})) == ()


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "", "-a", "a b", "x" * 2000])
def test_what_no_distribution_is_called_is_left_out(name: str) -> None:
    assert of(written([Distribution(name=name, version="1")])) == ()


@given(st.binary(max_size=2000))
def test_any_bytes_are_read(data: bytes) -> None:
    assert len(of(data)) <= MOST


def test_of_many_lines_some_are_read() -> None:
    lines = b"".join(b"name%d\t1\n" % number for number in range(2 * MOST))
    assert len(of(lines)) == MOST


def test_what_uv_answers() -> None:
    answer = (
        "# a comment\nFlask==3.0\noctavia==16.0.1 ; python_version < '4'\n-e .\n"
        "typing_extensions==4.1 \\\n    --hash=sha256:1==2\nx @ https://example.org/x.whl\n"
    )
    assert resolved(answer) == {
        "flask": "3.0",
        "octavia": "16.0.1",
        "typing-extensions": "4.1",
    }


def test_only_later_versions_of_what_is_installed_count() -> None:
    installed = [Distribution(name=name, version="2.0") for name in ("a", "b", "c", "d")]
    found = newer(installed, {"a": "2.0.1", "b": "2.0", "c": "1.9", "e": "1"})
    assert [(each.package, each.installed, each.candidate, each.kind) for each in found] == [
        ("a", "2.0", "2.0.1", UpdateKind.AGENT)
    ]
    assert newer([GIT], {"octavia": "99"}) == ()


@pytest.mark.parametrize(
    ("version", "than", "later"),
    [
        ("16.0.10", "16.0.9", True),
        ("16.0.0", "16.0.0rc1", True),
        ("16.0", "16.0.0", False),
        ("none", "1", False),
        ("1", "none", False),
    ],
)
def test_versions_are_compared_as_python_does(version: str, than: str, later: bool) -> None:
    assert is_later(version, than) is later


def test_a_ref_that_moved() -> None:
    assert moved(GIT, COMMIT) is None
    update = moved(GIT, OTHER)
    assert update is not None
    assert (update.installed, update.candidate) == ("a" * 12, "b" * 12)


@pytest.mark.parametrize(
    ("ref", "lines", "commit"),
    [
        ("HEAD", {"HEAD": COMMIT}, COMMIT),
        ("main", {"refs/heads/other/main": OTHER, "refs/heads/main": COMMIT}, COMMIT),
        ("1.0", {"refs/tags/1.0": OTHER, "refs/tags/1.0^{}": COMMIT}, COMMIT),
        ("1.0", {"refs/tags/1.0": OTHER, "refs/heads/1.0": COMMIT}, COMMIT),
        ("main", {"refs/heads/other/main": OTHER}, None),
        ("main", {"refs/heads/main": "none"}, None),
    ],
)
def test_the_commit_of_a_ref(ref: str, lines: dict[str, str], commit: str | None) -> None:
    answer = "".join(f"{value}\t{name}\n" for name, value in lines.items())
    assert commit_of(answer, ref) == commit


def test_a_distribution_is_no_package_of_the_same_name() -> None:
    values: dict[str, Any] = {"package": "six", "source": "six", "installed": "1"}
    one = Update(**values, candidate="2", kind=UpdateKind.AGENT)
    other = Update(**values, candidate="2", kind=UpdateKind.OTHER)
    assert one.key != other.key
    offers = [Offer(checked_at=NOW, updates=(each,), newest_index=None) for each in (one, other)]
    assert offers[0].digest != offers[1].digest
