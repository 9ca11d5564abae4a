"""Servers of the tests' own, each in a thread."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

POLL = 0.02
"""Seconds until a server sees that it is to end."""


@contextmanager
def answering(server: socketserver.BaseServer) -> Iterator[None]:
    """Have a server answer for the length of the block; who made it closes it."""
    thread = threading.Thread(target=server.serve_forever, args=(POLL,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
