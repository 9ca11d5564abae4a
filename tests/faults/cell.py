"""One cell of the matrix: a cloud as it stands on any day, one fault, and what came of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

from retrofit.model import version_key
from tests.faults import driver
from tests.faults.judge import Before, before, healed, violations
from tests.faults.table import Cell
from tests.integration.stage import Stage

STEPS = (
    "plan", "sweep", "preflight", "fetch", "build", "verify", "upload",
    "promote", "demote", "retire",
)  # fmt: skip
"""Of a run that publishes, in order."""
NEWEST = "20260911.10"


def ordinary(stage: Stage) -> Before:
    """Have one image promoted, one to go back to, one to retire, a newer source, and foreign ones.

    A run without faults makes every kind of request: it publishes, promotes, demotes and retires.
    """
    stage.site.delete_all_images()
    shutil.rmtree(stage.directory / stage.machine, ignore_errors=True)
    stage.former("20260701", days=60)
    stage.former("20260720", days=40)
    stage.promoted("20260801", days=10)
    stage.source("20260911.9")
    stage.source(NEWEST)
    stage.foreign(tags=["octavia-amphora"], days=30)
    return before(stage)


def tried(
    stage: Stage, step: str, fault: str, act: Callable[[Stage, Before], driver.Ended]
) -> Cell:
    """Let `act` run a command with a fault in it; judge what it left, and what the next run makes.

    When `act` returns, the fault has to be over. `stage` must reach the cloud without faults then.
    """
    was = ordinary(stage)
    ended = act(stage, was)
    found = [f"at once: {said}" for said in violations(stage, was)]
    standing = stage.octavia()
    taken = "none" if standing is None else "previous" if standing == was.promoted else "new"
    found += [f"next run: {said}" for said in _of_the_next_run(stage, was)]
    return Cell(
        step=step,
        fault=fault,
        exit_code=ended.exit_code,
        ended=taken if ended.signal is None else f"killed: {taken}",
        violations=tuple(found),
    )


def _of_the_next_run(stage: Stage, was: Before) -> list[str]:
    after = driver.run(stage, "run-once", "-o", "json")
    found = healed(stage, was)
    outcome = json.loads(after.stdout or "{}").get("outcome")
    if outcome not in {"published", "unchanged", "waiting"}:
        found.append(f"it ends with exit code {after.exit_code} ({outcome}): {after.stderr}")
    elif outcome != "waiting":
        images = stage.everything()
        made_from = images[stage.octavia() or ""].get("source_version_name", "0")
        offered = (image["version_name"] for image in images.values() if "version_name" in image)
        if version_key(made_from) < max(map(version_key, offered)):
            found.append(f"it leaves {made_from} promoted")
    return found
