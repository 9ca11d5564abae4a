"""Random histories of several installations, strangers and broken machines: nothing goes wrong.

What is meant by that is in `witness.py` (what must not be done to an image) and `expectations.py`
(what must not be left undone). A failure prints its seed and the shortest history that was found to
fail in the same way; `play(draw_history(SEED))` plays it again.

HISTORIES in the environment is how many are played; `make test-all` plays ten thousand. With
`HYPOTHESIS_PROFILE=thorough` they are other ones each time.
"""

from __future__ import annotations

import pytest

from tests.model.history import draw_history, first_failure
from tests.thoroughness import FIRST_HISTORY, HISTORIES

AT_ONCE = 100
"""Histories of one test: a worker of pytest-xdist is given a test at a time."""


@pytest.mark.parametrize("number", range(0, HISTORIES, AT_ONCE))
def test_nothing_happens_to_an_image_that_should_not(number: int) -> None:
    last = min(number + AT_ONCE, HISTORIES)
    failure = first_failure(range(FIRST_HISTORY + number, FIRST_HISTORY + last))
    assert failure is None, f"\n{failure}"


def test_a_seed_always_means_the_same_history() -> None:
    assert draw_history(7) == draw_history(7)
    assert draw_history(7) != draw_history(8)
    assert all(len(draw_history(seed).steps) >= 30 for seed in range(100))
