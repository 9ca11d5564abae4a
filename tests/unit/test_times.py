"""Times as others write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from retrofit.times import read_time

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-11-22T12:00:00+00:00", "2026-11-22T12:00:00", "2026-11-22T14:00:00+02:00"]
)
def test_what_names_no_zone_is_utc_and_all_is_told_in_it(text: str) -> None:
    read = read_time(text)
    assert read == NOON
    assert read is not None
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [None, 12, "", "noon", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9000-01-01"],
)
def test_what_is_no_time_or_too_near_to_the_end_of_all_is_none(text: object) -> None:
    assert read_time(text) is None
