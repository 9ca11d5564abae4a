"""The clock that the fault tests set is what a run reads, and waits are as long as ever."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from retrofit.runs import directory, events
from tests.faults import clock
from tests.faults.invariants import before
from tests.integration.harness import CloudHarness


@pytest.mark.parametrize("seconds", [clock.JUMPS["ten years"], -clock.JUMPS["ten years"]])
def test_now_is_another_time_everywhere_but_in_what_is_monotonic(seconds: int) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            before = datetime.now(UTC)
            clock.set_clock(seconds)
            begun = time.monotonic()
            time.sleep(0.1)
            assert 0.1 <= time.monotonic() - begun < 5
            moved = (
                datetime.now(UTC).timestamp(),
                directory.datetime.now(UTC).timestamp(),
                datetime.now().timestamp(),
                time.time(),
                time.time_ns() / 1e9,
            )
            assert all(abs(each - before.timestamp() - seconds) < 5 for each in moved)
            year = datetime.now(UTC).year
            assert year != before.year
            assert {date.today().year, time.gmtime().tm_year} == {year}
            assert isinstance(datetime.now(UTC), datetime)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_run_dates_its_events_by_it_and_its_image_by_glances_clock(
    harness: CloudHarness,
) -> None:
    harness.source("20260911.1")
    ended = clock.FAULTS["clock set on by ten years"]("verify")(harness, before(harness))
    assert ended.exit_code == 0
    (image,) = (each for each in harness.everything().values() if each.get("retrofit_run_id"))
    now = datetime.now(UTC)
    assert abs(datetime.fromisoformat(image["retrofit_promoted_at"]) - now) < timedelta(minutes=10)
    (path,) = harness.path("logs").glob(f"*/{events.FILE}")
    last = json.loads(path.read_text().splitlines()[-1])
    assert 3600 < (datetime.fromisoformat(last["timestamp"]) - now).days < 3700
