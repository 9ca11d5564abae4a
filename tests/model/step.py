"""One step of a history, as data."""

from __future__ import annotations

from dataclasses import dataclass

from tests.model.memory_glance import Fault


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. `acts` are what happens between its calls: (before which call, step)."""

    what: str
    numbers: tuple[int, int, int]
    fault: Fault | None = None
    acts: tuple[tuple[int, Step], ...] = ()

    def __str__(self) -> str:
        """Return it as one line."""
        parts = [f"{self.what} {self.numbers}"]
        if self.fault is not None:
            parts.append(f"{self.fault.kind} at call {self.fault.at}")
        parts += [f"before call {at}: {step}" for at, step in self.acts]
        return "; ".join(parts)
