"""Glance's clock, by the Date of its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from retrofit.cloud import Glance
from retrofit.cloud.clock import compared, read_date
from retrofit.cloud.requests import Requests

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["GMT", "+0000", "-0000"])
def test_reads_a_date(zone: str) -> None:
    assert read_date(f"Sun, 22 Nov 2026 12:00:00 {zone}") == NOW


@pytest.mark.parametrize(
    "header", [None, "", "yesterday", "Sun, 22 Nov 9999 12:00:00 GMT", "Sun, 99 Nov 2026 12:00:00"]
)
def test_an_unreadable_date_is_none(header: str | None) -> None:
    assert read_date(header) is None


@pytest.mark.parametrize(
    ("offset", "warning"),
    [
        (timedelta(minutes=9), None),
        (timedelta(minutes=11), "11 minutes ahead of that of Glance"),
        (timedelta(days=-1), "1 day behind that of Glance"),
        (timedelta(days=3000), "3000 days ahead of that of Glance"),
    ],
)
def test_the_time_there_counts_and_an_offset_is_reported(
    offset: timedelta, warning: str | None
) -> None:
    clock = compared(NOW, NOW + offset, server="Glance")
    assert clock.now == NOW
    assert (warning is None) if clock.warning is None else (warning or "-") in clock.warning


def test_without_the_time_there_it_is_the_time_here_with_a_warning() -> None:
    clock = compared(None, NOW, server="Glance")
    assert clock.now == NOW
    assert "no Date header" in str(clock.warning)


def answer(url: str, date: str | None) -> Any:
    headers = {} if date is None else {"Date": date}
    return SimpleNamespace(url=url, status_code=200, headers=headers)


def test_only_glances_own_answers_count() -> None:
    session = MagicMock()
    hooks: dict[str, list[Any]] = {"response": []}
    session.session.hooks = hooks
    requests = Requests(session, retries=0, timeout=1)
    client = MagicMock()
    client.http_client.endpoint_override = "http://glance.example:9292"
    glance = Glance(client, requests=requests, project_id="ours", where="here")
    (note,) = hooks["response"]
    note(answer("http://keystone.example:5000/v3", "Sun, 22 Nov 2020 12:00:00 GMT"))
    assert "no Date header" in str(glance.clock().warning)
    note(answer("http://glance.example:9292/v2/images", "Sun, 22 Nov 2015 12:00:00 GMT"))
    note(answer("http://glance.example:9292/v2/images", None))
    clock = glance.clock()
    assert timedelta() <= clock.now - datetime(2015, 11, 22, 12, tzinfo=UTC) < timedelta(minutes=1)
    assert "ahead of" in str(clock.warning)
