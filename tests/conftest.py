"""What every test may ask for."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

from retrofit import patience
from tests.thoroughness import THOROUGH

# Speed is for benchmarks; a busy machine fails no test.
settings.register_profile("patient", deadline=None, derandomize=not THOROUGH)
settings.load_profile("patient")

# A shell that starts us in the background ignores Ctrl-C for us and all that we start, and a
# program cannot take back what it never gets: tests of interruption need it to arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.devcloud.fixtures", "tests.faults.summary"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once: how long the waits are is what only their own tests ask."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
