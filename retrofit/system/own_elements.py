"""Where the elements of this installation are."""

from __future__ import annotations

from pathlib import Path

from retrofit.errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]


def own_elements() -> Path:
    """Return the directory of our elements: inside an installed package, or beside it."""
    for directory in (PACKAGE / "elements", PACKAGE.parent / "elements"):
        if directory.is_dir():
            return directory
    raise ConfigError(
        f"the elements are neither in {PACKAGE} nor beside it",
        hint="this installation is incomplete: install octavia-retrofit again",
    )
