from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from retrofit.cli.until import time_to_come
from retrofit.times import end_of_pause
from tests.unit.images import NOW


@pytest.mark.parametrize(
    ("text", "hours"), [("90m", 1.5), ("12h", 12), ("3d", 72), ("2w", 336), (" 1h ", 1)]
)
def test_reads_how_long_from_now(text: str, hours: float) -> None:
    assert end_of_pause(text, NOW) == NOW + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2026-12-24T18:00", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24 18:00", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24", datetime(2026, 12, 24, tzinfo=UTC)),
        ("2026-12-24T18:00Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24T18:00+02:00", datetime(2026, 12, 24, 16, tzinfo=UTC)),
    ],
)
def test_reads_a_time_which_is_utc_unless_it_says_otherwise(text: str, end: datetime) -> None:
    assert end_of_pause(text, NOW) == end
    assert end_of_pause(text, NOW).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["", "soon", "3", "3 d", "1.5h", "-1h", "3y", "h", "2026-13-01", "25:00", "9" * 30 + "w"],
)
def test_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="neither a time nor a duration"):
        end_of_pause(text, NOW)


@pytest.mark.parametrize("text", ["2026-11-22T12:00", "2020-01-01", "0h", "0m"])
def test_refuses_what_is_past(text: str) -> None:
    with pytest.raises(ValueError, match="is in the past: it is 2026-11-22T12:00 UTC"):
        end_of_pause(text, NOW)


@given(st.text(max_size=20))
def test_whatever_is_typed_it_is_a_time_to_come_or_refused(text: str) -> None:
    try:
        end = end_of_pause(text, NOW)
    except ValueError:
        return
    assert end > NOW


def test_the_option_names_itself_when_it_refuses() -> None:
    @click.command()
    @click.option("--until", callback=time_to_come)
    def command(until: datetime | None) -> None:
        click.echo(until)

    run = CliRunner().invoke
    assert run(command, []).output == "\n"
    assert run(command, ["--until", "1h"]).exit_code == 0
    refused = run(command, ["--until", "yesterday"])
    assert refused.exit_code == 2
    assert "--until" in refused.output
    assert "neither a time nor a duration" in refused.output
