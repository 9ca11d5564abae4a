"""Hundreds of passes through a network that fails: Octavia always has an image, nothing grows."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterator
from statistics import median

import pytest

from tests.faults.invariants import before
from tests.faults.lifelong import lived
from tests.faults.proxied import Proxied
from tests.faults.soak import TIMEOUT, Soak, first_last, quarters

LOGS_KEPT = 5
DISK_MARGIN = 128 << 10
DISK_BOUND = 4 << 20
"""What a killed run leaves, two images of 320 KiB, stays until the next one begins."""
IMAGES_MARGIN = 2
MEMORY_MARGIN = 5 << 20
DESCRIPTORS_MARGIN = 2


@pytest.fixture
def soak(faulty: Proxied, monkeypatch: pytest.MonkeyPatch) -> Iterator[Soak]:
    """A soak whose seed is printed, and may be given."""
    monkeypatch.setenv("RETROFIT_PATHS__KEEP_LOGS", str(LOGS_KEPT))
    seed = int(os.environ.get("SOAK_SEED") or secrets.randbelow(1 << 32))
    soak = Soak(proxied=faulty, seed=seed)
    print(f"SOAK_SEED={seed}")
    yield soak
    print(soak.summary())


@pytest.mark.slow
def test_a_dozen_passes(soak: Soak) -> None:
    soak.calm_every = 6
    soak.run(12)
    assert soak.found == []


@pytest.mark.slow
def test_five_hundred_passes(soak: Soak) -> None:
    soak.run(int(os.environ.get("SOAK_PASSES", "500")))
    assert soak.found == []
    assert soak.random_faults.met.total() > soak.passes.total() / 4
    assert max(soak.disk) < DISK_BOUND
    for values, margin in ((soak.disk, DISK_MARGIN), (soak.images, IMAGES_MARGIN)):
        first, last = quarters(values)
        assert median(last) <= median(first) + margin


@pytest.mark.slow
def test_one_process_holds_on_to_nothing(soak: Soak) -> None:
    passes = int(os.environ.get("SOAK_PASSES", "200"))

    def between() -> None:
        if secrets.randbelow(4) == 0:
            soak.newer_source()

    soak.proxied.proxy.chance(soak.random_faults.choose)
    with soak.proxied.through(timeout=TIMEOUT) as harness:
        samples = lived(harness, passes, between)
    soak.proxied.proxy.chance(None)
    assert len(samples) == passes
    assert soak.random_faults.met.total() > passes / 4
    resident = [sample.resident for sample in samples]
    descriptors = [sample.descriptors for sample in samples]
    print(f"by outcome: {Counter(sample.outcome for sample in samples)}")
    print(f"bytes of memory first/last: {first_last(resident)}")
    print(f"descriptors first/last: {first_last(descriptors)}")
    first, last = quarters(resident)
    assert median(last) <= median(first) + MEMORY_MARGIN
    first, last = quarters(descriptors)
    assert max(last) <= max(first) + DESCRIPTORS_MARGIN
    # Sources came and went all the time.
    assert soak.calm(before(soak.harness)) == []
