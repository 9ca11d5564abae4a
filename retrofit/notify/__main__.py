"""Deliver what waits and end: started at the end of a run, which does not wait for it."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from retrofit.config import NotifySettings
from retrofit.notify.delivery import deliver, patience
from retrofit.notify.outbox import Outbox
from retrofit.terminal import configure_logging

SPARE = 900.0
"""Seconds for the attempts themselves; each has a limit of its own."""
OUT_OF_TIME = 1


def main() -> None:
    """Read the job on stdin, as `delivery_job` makes it, and do it."""
    configure_logging(verbose=False)
    job = json.load(sys.stdin)
    settings = NotifySettings.model_validate(job["notify"])
    _end_after(2 * (patience(settings) + SPARE))  # twice: it may wait for one like itself
    deliver(Outbox(Path(job["state"])), settings)


def _end_after(seconds: float) -> None:
    """End this process at a time, whatever it does: it holds a lock, and nobody waits for it."""
    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), os._exit, (OUT_OF_TIME,))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    main()
