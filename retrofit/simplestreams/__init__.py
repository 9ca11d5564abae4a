"""simplestreams mirrors; only this package imports the library of that name."""

from retrofit.simplestreams.mirror import Mirror

__all__ = ["Mirror"]
