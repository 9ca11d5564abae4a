"""simplestreams mirrors; nothing outside this package imports their library."""

from retrofit.streams.mirror import Mirror

__all__ = ["Mirror"]
