"""Deliver what waits and end: started at the end of a run, which does not wait for it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from retrofit.config import NotifySettings
from retrofit.notify.delivery import deliver
from retrofit.notify.outbox import Outbox
from retrofit.terminal import configure_logging


def main() -> None:
    """Read the job on stdin, as `delivery_job` makes it, and do it."""
    configure_logging(verbose=False)
    job = json.load(sys.stdin)
    deliver(Outbox(Path(job["state"])), NotifySettings.model_validate(job["notify"]))


if __name__ == "__main__":
    main()
