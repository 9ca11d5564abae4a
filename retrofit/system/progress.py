"""How long work tells whoever watches what it is doing."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float | None], None]
"""Called with a short phrase and how far it is: 0.0 to 1.0, or None when unknown."""


def silent(phrase: str, fraction: float | None) -> None:
    """Tell nobody."""
