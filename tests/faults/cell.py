"""One cell of the matrix: a cloud as it stands on any day, one fault, and what came of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from retrofit.model import version_key
from tests.answers import answer
from tests.faults import driver
from tests.faults.invariants import Before, before, healed, violations
from tests.faults.table import Cell
from tests.integration.harness import CloudHarness

STEPS = (
    "plan", "clean-up", "preflight", "fetch", "build", "verify", "upload",
    "promote", "demote", "retire",
)  # fmt: skip
"""Of a run that publishes, in order."""
NEWEST = "20260911.10"


def ordinary(harness: CloudHarness) -> Before:
    """Have one image promoted, one to go back to, one to retire, a newer source, and foreign ones.

    A run without faults makes every kind of request: it publishes, promotes, demotes and retires.
    """
    harness.site.delete_all_images()
    shutil.rmtree(harness.directory / harness.machine, ignore_errors=True)
    harness.former("20260701", days=60)
    harness.former("20260720", days=40)
    harness.promoted("20260801", days=10)
    harness.source("20260911.9")
    harness.source(NEWEST)
    harness.foreign(tags=["octavia-amphora"], days=30)
    return before(harness)


def tried(
    harness: CloudHarness,
    step: str,
    fault: str,
    act: Callable[[CloudHarness, Before], driver.Ended],
) -> Cell:
    """Let `act` run a command with a fault in it; judge what it left, and what the next run makes.

    When `act` returns, the fault has to be over: `harness` must reach the cloud without it then.
    """
    was = ordinary(harness)
    ended = act(harness, was)
    found = [f"at once: {said}" for said in violations(harness, was)]
    standing = harness.octavia()
    taken = "none" if standing is None else "previous" if standing == was.promoted else "new"
    found += [f"next run: {said}" for said in _of_the_next_run(harness, was)]
    return Cell(
        step=step,
        fault=fault,
        exit_code=ended.exit_code,
        ended=taken if ended.signal is None else f"killed: {taken}",
        violations=tuple(found),
    )


def _of_the_next_run(harness: CloudHarness, was: Before) -> list[str]:
    after = driver.run(harness, "run-once", "-o", "json")
    found = healed(harness, was)
    outcome = answer(after.stdout or "{}").get("outcome")
    if outcome not in {"published", "unchanged", "backoff"}:
        found.append(f"it ends with exit code {after.exit_code} ({outcome}): {after.stderr}")
    elif outcome != "backoff":
        images = harness.everything()
        made_from = images[harness.octavia() or ""].get("source_version_name", "0")
        offered = (image["version_name"] for image in images.values() if "version_name" in image)
        if version_key(made_from) < max(map(version_key, offered)):
            found.append(f"it leaves {made_from} promoted")
    return found
