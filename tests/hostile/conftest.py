"""What every test of hostile input may ask for."""

from __future__ import annotations

pytest_plugins: list[str] = []

from tests.hostile.door import door  # noqa: E402, F401  (a fixture)
