"""The matrix of steps and faults as people read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

kept: list[Cell] = []
"""All cells that this run of the tests has tried, for the table at its end."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One fault at one step, and how that ended."""

    step: str
    fault: str
    exit_code: int | None
    """None where no process lived to give one."""
    ended: str
    """What Octavia takes afterwards: "previous", "new" or "none"; after "killed:" if it was."""
    violations: tuple[str, ...]

    @property
    def mark(self) -> str:
        """Say in one letter how it ended."""
        if self.violations:
            return "X"
        return {"new": "n", "previous": "p", "none": "0"}[self.ended.rpartition(" ")[2]]


def keep(cell: Cell) -> Cell:
    """Have a cell in the table at the end of the tests."""
    kept.append(cell)
    return cell


def table_of(cells: Iterable[Cell]) -> Iterator[str]:
    """Yield lines: step x fault, then every violation, then the counts."""
    shown = list(cells)
    steps = list(dict.fromkeys(cell.step for cell in shown))
    faults = list(dict.fromkeys(cell.fault for cell in shown))
    width = max((len(fault) for fault in faults), default=0)
    for number, step in enumerate(steps):
        yield f"{'':{width}} {' |' * number} {step}"
    for fault in faults:
        row = (_marks(shown, step, fault) for step in steps)
        yield f"{fault:{width}}  {' '.join(row)}"
    yield "n: new promoted, p: previous stands, X: violation, .: not tried"
    if any(cell.mark == "0" for cell in shown):
        yield "0: others took the promoted image away when all was done; the next run heals it"
    for cell in shown:
        for violation in cell.violations:
            yield f"violation: {cell.step} x {cell.fault}: {violation}"
    violated = sum(len(cell.violations) for cell in shown)
    yield f"{len(shown)} cells, {violated} violations"
    ended = Counter(cell.ended for cell in shown)
    yield "ended with: " + ", ".join(f"{how}: {count}" for how, count in sorted(ended.items()))
    codes = Counter("none" if cell.exit_code is None else str(cell.exit_code) for cell in shown)
    yield "by exit code: " + ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))


def print_table(cells: Iterable[Cell]) -> None:
    """Print the lines of `table_of`."""
    for line in table_of(cells):
        print(line)


def _marks(cells: list[Cell], step: str, fault: str) -> str:
    found = {cell.mark for cell in cells if (cell.step, cell.fault) == (step, fault)}
    return next((mark for mark in "X0pn" if mark in found), ".")
