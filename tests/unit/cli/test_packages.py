"""Newer and changed packages as an operator reads them."""

from __future__ import annotations

from typing import Any

import pytest

from retrofit.archive.changes import PackageChange
from retrofit.cli.render import runs
from retrofit.runs.report_document import PackageDocument
from retrofit.status.models import FreshnessDocument
from tests.unit.status import scenes


def document(**changed: Any) -> FreshnessDocument:
    return FreshnessDocument.model_validate(scenes.freshness(**changed))


def test_nobody_looked() -> None:
    assert runs._update_lines(None) is None


def test_kinds_and_versions() -> None:
    held = {**scenes.fix("linux-image", since=None), "security": False}
    assert runs._update_lines(document(held=[held])) == [
        "security: haproxy 1 -> 2",
        "held in a build: linux-image 1 -> 2",
    ]


def test_ids_and_the_agent() -> None:
    known = {**scenes.fix("octavia", since=None), "cves": ["CVE-2026-1", "CVE-2026-2"]}
    many = {**known, "cves": [f"CVE-2026-{number}" for number in range(7)]}
    assert runs._update_lines(document(security=[many], agent=[known])) == [
        "security: octavia 1 -> 2 (CVE-2026-0, CVE-2026-1, CVE-2026-2, CVE-2026-3, CVE-2026-4"
        " and 2 more)",
        "agent: octavia 1 -> 2 (CVE-2026-1, CVE-2026-2)",
    ]


def test_nothing_and_not_known_differ() -> None:
    assert runs._update_lines(document(security=[])) == ["none"]
    assert runs._update_lines(document(security=[], unknown="no answer")) == ["unknown: no answer"]


def test_a_long_list_is_cut_and_says_so() -> None:
    many = [scenes.fix(f"p{number}", since=None) for number in range(30)]
    lines = runs._update_lines(document(security=many)) or []
    assert (len(lines), lines[-1]) == (11, "and 20 more: `-f json` lists them")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (PackageChange(package="a", before="1", after="2"), "a 1 -> 2"),
        (PackageChange(package="a", before=None, after="2"), "a 2, new"),
        (PackageChange(package="a", before="1", after=None), "a 1, gone"),
        (
            PackageChange(package="a", before="1", after="2", cves=("CVE-1", "CVE-2")),
            "a 1 -> 2 (CVE-1, CVE-2)",
        ),
    ],
)
def test_changes(change: PackageChange, line: str) -> None:
    assert runs._change_line(PackageDocument.of(change)) == line
