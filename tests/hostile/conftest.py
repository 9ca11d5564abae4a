"""What every test of hostile input may ask for."""

from tests.hostile.door import door  # noqa: F401  (a fixture)
