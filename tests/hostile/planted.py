"""Credentials that tests plant and then look for, in all that runs leave and start."""

from __future__ import annotations

import threading
from pathlib import Path

SECRET = "planted-Zq7hunter2"
ADDRESS = f"//planted-user:{SECRET}@127.0.0.1:9"


class Watch:
    """Looks at the arguments of every process, again and again."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = path.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if SECRET in words:
                    self.seen.add(words.replace("\0", " "))
