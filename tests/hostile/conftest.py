"""What every test of hostile input may ask for."""

from tests.hostile.door import door
from tests.hostile.victim import victim

__all__ = ["door", "victim"]
