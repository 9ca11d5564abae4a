"""How long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float | None], None]
"""Called with a short phrase and the fraction done: 0.0 to 1.0, or None when unknown."""


def silent(phrase: str, fraction: float | None) -> None:
    """Report nothing."""
