"""What plan and status say about the supply of sources."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import pytest

from retrofit.config import SourceSettings
from retrofit.model import Listing, Source
from retrofit.source.choose import choose_item, choose_source
from retrofit.source.sync_age import sync_warnings, version_day
from tests.unit.images import NOW, OWN
from tests.unit.streams import copy_of, item, listing

SETTINGS = SourceSettings()


def in_glance(*versions: str, **fields: Any) -> Source | None:
    images = [copy_of(item(version, **fields)) for version in versions]
    return choose_source(images, SETTINGS, own_project=OWN).source


def said(
    source: Source | None, offered: Listing | None = None, settings: SourceSettings = SETTINGS
) -> list[str]:
    newest = choose_item(offered, settings).source if offered is not None else None
    return sync_warnings(source, newest, offered, settings, NOW)


def test_says_nothing_while_all_is_well() -> None:
    assert said(in_glance("20261120"), listing(item("20261120"))) == []
    assert said(in_glance("20261120"), listing(item("20261119"))) == []
    assert said(in_glance("20261120")) == []


def test_says_that_the_synchroniser_stalled_with_ages() -> None:
    (warning,) = said(in_glance("20261101", "20261025"), listing(item("20261112")))
    assert warning == (
        "the mirror has 20261112 (10 days old) of com.ubuntu.cloud:server:24.04:amd64, the newest"
        " in Glance is 20261101 (21 days old): check that the synchroniser runs"
    )


def test_compares_versions_of_one_day_as_numbers() -> None:
    (warning,) = said(in_glance("20261120.9"), listing(item("20261120.10")))
    assert "check that the synchroniser runs" in warning
    assert said(in_glance("20261120.10"), listing(item("20261120.9"))) == []


def test_says_that_the_preferred_series_is_in_the_mirror_alone() -> None:
    jammy = in_glance("20261120", release="22.04")
    (warning,) = said(jammy, listing(item("20261119")))
    assert "Glance only 20261120" in warning


def test_says_that_glance_has_nothing_of_what_the_mirror_has() -> None:
    (warning,) = said(None, listing(item("20261119")))
    assert "Glance has none" in warning


def test_a_source_from_the_mirror_is_never_behind_it() -> None:
    offered = listing(item("20261119"))
    assert said(choose_item(offered, SETTINGS).source, offered) == []


def test_says_that_a_source_is_too_old() -> None:
    settings = SourceSettings(max_age=30)
    assert said(in_glance("20261023"), settings=settings) == []
    (warning,) = said(in_glance("20261022"), settings=settings)
    assert "31 days old, more than 30 (source.max_age)" in warning


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (date(2026, 11, 21), "is out of support since 2026-11-21"),
        (date(2026, 11, 22), "0 more days"),
        (date(2027, 2, 20), "90 more days"),
        (date(2027, 2, 21), None),
        (None, None),
    ],
)
def test_says_that_a_series_nears_its_end(end: date | None, expected: str | None) -> None:
    source = choose_item(listing(item("20261120", support_eol=end)), SETTINGS).source
    warnings = said(source)
    assert (len(warnings) == 0) if expected is None else expected in warnings[0]


def test_knows_the_end_of_a_series_from_the_mirror_where_the_image_does_not_say() -> None:
    offered = listing(item("20261120", support_eol=date(2026, 12, 1)))
    (warning,) = said(in_glance("20261120"), offered)
    assert "supported until 2026-12-01, 9 more days" in warning


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_days_are_those_of_utc_wherever_the_machine_is(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", zone)
        time.tzset()
        (warning,) = said(in_glance("20261022"), settings=SourceSettings(max_age=30))
    time.tzset()
    assert "31 days old" in warning


def test_knows_the_end_of_a_series_from_the_image_alone() -> None:
    metadata = '{"support_eol": "2026-12-01"}'
    image = copy_of(item("20261120"), properties={"simplestreams_metadata": metadata})
    source = choose_source([image], SETTINGS, own_project=OWN).source
    (warning,) = said(source)
    assert "supported until 2026-12-01, 9 more days" in warning


@pytest.mark.parametrize(
    ("version", "day"),
    [
        ("20260911", date(2026, 9, 11)),
        ("20260911.1", date(2026, 9, 11)),
        ("20261399", None),
        ("2026091112", None),
        ("beta2", None),
        ("", None),
    ],
)
def test_reads_the_day_of_a_version(version: str, day: date | None) -> None:
    assert version_day(version) == day


def test_a_version_without_a_day_is_told_without_an_age() -> None:
    (warning,) = said(in_glance("1"), listing(item("2")))
    assert "the mirror has 2 of" in warning


def test_names_another_series_that_the_mirror_has() -> None:
    older = in_glance("20261120", release="22.04")
    (warning,) = said(older, listing(item("20261112")))
    assert warning == (
        "the mirror has 20261112 (10 days old) of com.ubuntu.cloud:server:24.04:amd64, Glance only"
        " 20261120 (2 days old) of com.ubuntu.cloud:server:22.04:amd64: check that the synchroniser"
        " fetches this series"
    )
    (none,) = said(None, listing(item("20261112")))
    assert none == (
        "the mirror has 20261112 (10 days old), Glance has none: check that the synchroniser runs"
        " and fetches this series"
    )
