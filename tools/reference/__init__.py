"""Reference pages made from the code: `python -m tools.reference` writes `docs/reference/`.

Each module makes pages of one kind. A test compares them with the files, so that none is stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tools.reference import (
    charm,
    checks,
    commands,
    events,
    exit_codes,
    metrics,
    properties,
    report,
    settings,
    states,
    status,
)
from tools.reference.markdown import page

DIRECTORY = Path(__file__).resolve().parents[2] / "docs" / "reference"
BODIES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings.body,
    "commands.md": commands.body,
    "exit-codes.md": exit_codes.body,
    "report.md": report.body,
    "status.md": status.body,
    "states.md": states.body,
    "events.md": events.body,
    "properties.md": properties.body,
    "checks.md": checks.body,
    "metrics.md": metrics.body,
    "charm.md": charm.body,
}


def pages() -> dict[str, str]:
    """Return the text of every generated page by its file name."""
    return {name: page(body()) for name, body in BODIES.items()}
