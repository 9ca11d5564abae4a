"""One process that makes pass after pass, and takes note of what it holds on to."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from retrofit.config.file import load
from retrofit.console import configure_logging
from retrofit.operations.run import run_targets
from tests.faults import driver
from tests.integration.harness import CloudHarness

POLL = 0.1
LONGEST_PASS = 120.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the process held after a pass."""

    outcome: str
    resident: int
    """Bytes of memory."""
    descriptors: int


def lived(harness: CloudHarness, passes: int, between: Callable[[], object]) -> list[Sample]:
    """Have one process make so many passes, and return what it held after each.

    `between` is called whenever some more are done.
    """
    notes = harness.directory / "notes"
    running = driver.begin(
        harness,
        "run-once",
        before=partial(_live, config=harness.config, passes=passes, notes=notes),
    )
    done, deadline = 0, time.monotonic() + LONGEST_PASS
    while done < passes and time.monotonic() < deadline:
        time.sleep(POLL)
        if len(_read(notes)) > done:
            done, deadline = len(_read(notes)), time.monotonic() + LONGEST_PASS
            between()
    running.ended(LONGEST_PASS)
    return _read(notes)


def _live(*, config: Path, passes: int, notes: Path) -> None:
    """Make so many passes in this process, with a line in `notes` after each."""
    configure_logging(verbose=False)
    settings = load(config)
    with notes.open("w", buffering=1) as file:
        for _ in range(passes):
            (report,) = run_targets(settings.targets, settings)
            # What only waits to be collected is no leak.
            gc.collect()
            file.write(json.dumps(asdict(_sample(report.outcome))) + "\n")


def _sample(outcome: str) -> Sample:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return Sample(
        outcome=outcome,
        resident=int(status["VmRSS"].split()[0]) << 10,
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
    )


def _read(notes: Path) -> list[Sample]:
    """Return the samples so far; a line that is being written comes next time."""
    if not notes.exists():
        return []
    whole, _, _rest = notes.read_text().rpartition("\n")
    return [Sample(**json.loads(line)) for line in whole.splitlines()]
