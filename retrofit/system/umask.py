"""Records and logs are for their owner: they name hosts, images and what failed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

PRIVATE = 0o077


@contextmanager
def private_files() -> Iterator[None]:
    """Write files that only their owner may read, for the length of the block.

    The umask is the process's: a build sets its own in its own process, and what others have to
    read gets its mode explicitly.
    """
    before = os.umask(PRIVATE)
    try:
        yield
    finally:
        os.umask(before)
