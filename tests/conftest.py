"""What every test may ask for."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import settings

from retrofit.system import retry
from tests.thoroughness import THOROUGH

# Speed is for benchmarks; a busy machine fails no test.
settings.register_profile("patient", deadline=None, derandomize=not THOROUGH)
settings.load_profile("patient")

# A shell that starts us in the background ignores Ctrl-C for us and all that we start, and a
# program cannot take back what it never gets: tests of interruption need it to arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.devcloud.fixtures", "tests.faults.summary"]

HERE = Path(__file__).parent
KINDS = {"benchmarks": "bench"}
"""Markers of directories that are not called like them."""
LONGEST = {HERE / "e2e/test_main_job.py", HERE / "integration/test_rollover_storm.py"}
"""Files to begin with: all others of their part of `make test` fit beside them."""
ROOTS = {"e2e", "faults"}
"""Directories whose tests mount, build and boot: all of them need root."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the directory that it stands in."""
    for item in items:
        directory = item.path.relative_to(HERE).parts[0]
        item.add_marker(KINDS.get(directory, directory))
        if directory in ROOTS:
            item.add_marker("root")
    _leave_to_the_slow(items)
    items.sort(key=lambda item: item.path not in LONGEST)


def _leave_to_the_slow(items: Iterable[pytest.Item]) -> None:
    """Mark as slow the cases of a test beyond those that its marker `sampled` counts."""
    cases: Counter[str] = Counter()
    for item in items:
        sampled = item.get_closest_marker("sampled")
        if sampled is None:
            continue
        test = item.nodeid.partition("[")[0]
        cases[test] += 1
        if cases[test] > sampled.args[0]:
            item.add_marker("slow")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Name the reason before a test fails of it in some other way."""
    if os.geteuid() != 0 and item.get_closest_marker("root"):
        pytest.fail("needs root; `pytest -m 'not root'` leaves such tests out", pytrace=False)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once: how long the waits are is what only their own tests ask."""
    monkeypatch.setattr(retry, "FIRST_BACKOFF", 0.01)
