"""docs/upgrading.md lists every word of 0.1.0 that the code translates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from retrofit.notify.notification import OLD_EVENTS
from retrofit.plan.image_state import OLD_REJECTED_AT, REJECTED_AT
from retrofit.runs import events, history
from retrofit.runs.report_document import OLD_OUTCOMES, OLD_STEPS
from retrofit.status import metrics, run_metrics

PAGE = (Path(__file__).parents[2] / "docs" / "upgrading.md").read_text().splitlines()


def pairs() -> Iterator[tuple[str, Iterable[str]]]:
    """Yield words of 0.1.0, each with those that stand for it now."""
    for translated in (OLD_EVENTS, OLD_OUTCOMES, OLD_STEPS, history.OLD_KEYS):
        yield from ((old, [new]) for old, new in translated.items())
    for label in (run_metrics.OLD_OUTCOMES, metrics.OLD_STATES, run_metrics.OLD_STEPS):
        yield from ((old, [new]) for new, old in label.items())
    for old, states in metrics.OLD_IMAGE_STATES.items():
        yield old, [state.value for state in states]
    yield history.OLD_FILE, [history.FILE]
    yield events.OLD_FILE, [events.FILE]
    yield OLD_REJECTED_AT, [REJECTED_AT]


@pytest.mark.parametrize(("old", "now"), list(pairs()))
def test_a_row_has_the_old_word_and_the_new_one(old: str, now: Iterable[str]) -> None:
    rows = [line for line in PAGE if line.startswith("|") and f"`{old}`" in line]
    assert any(all(f"`{word}`" in row for word in now) for row in rows), rows
