"""The judge finds every fault of old, put back alone: else his silence would mean nothing."""

from __future__ import annotations

import pytest

from tests.model.history import draw_history, play
from tests.model.old_behaviours import IN_IMAGES

MOST = 300
"""Histories within which each is found: as many as `make test` plays."""


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", IN_IMAGES)
def test_finds_an_old_behaviour(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = IN_IMAGES[name]
    old.put_back(monkeypatch)
    for seed in range(MOST):
        if any(old.found in each for each in play(draw_history(seed))):
            return
    pytest.fail(f"not found in {MOST} histories: {name}")
