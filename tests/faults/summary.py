"""The table of steps and faults at the end of the tests, whichever process tried them.

A plugin of the whole suite: with several workers the process that prints collects nothing itself.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from tests.faults.table import Cell, kept, table_of


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the cells of a worker to the process that prints."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["cells"] = [asdict(cell) for cell in kept]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the cells that a worker tried; one that crashed has none to give."""
    cells = getattr(node, "workeroutput", {}).get("cells", [])
    kept.extend(Cell(**{**cell, "violations": tuple(cell["violations"])}) for cell in cells)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the matrix, as far as these tests have tried it."""
    if kept:
        terminalreporter.section("steps x faults")
        for line in table_of(kept):
            terminalreporter.write_line(line)
