"""Being told: what changed, once, however often runs see it again."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from retrofit import process
from retrofit.chronicle import alone_with, read_chronicle, write_chronicle
from retrofit.config import NotifySettings, Settings
from retrofit.notify.changes import concluded
from retrofit.notify.outbox import Outbox, delivery_job

log = structlog.get_logger(__name__)

__all__ = ["DELIVERER", "Outbox", "conclude", "delivery_job"]

DELIVERER = (sys.executable, "-m", "retrofit.notify")
"""The short-lived process that delivers what waits: it reads its job on stdin."""


def conclude(report: Mapping[str, Any], settings: Settings) -> None:
    """Remember how a run ended, and have those told who want to hear of it.

    Nothing here waits for a receiver, and nothing that fails here changes how the run ended.
    """
    target, state_dir = str(report["target"]), settings.paths.state
    outbox = Outbox(state_dir)
    try:
        with alone_with(state_dir, target):
            after, changes = concluded(
                read_chronicle(state_dir, target),
                report,
                now=datetime.now(UTC),
                too_old=timedelta(days=settings.notify.too_old),
                host=socket.gethostname(),
            )
            # Before the chronicle: whoever dies in between tells it again under the same name.
            for change in changes:
                _spool(outbox, target, change, settings.notify)
            write_chronicle(state_dir, target, after)
        if not outbox.is_empty():
            process.detach(DELIVERER, stdin=json.dumps(delivery_job(settings)).encode())
    except (OSError, process.CommandError) as error:
        log.warning("change of state not recorded or not told", error=str(error))


def _spool(outbox: Outbox, target: str, change: dict[str, Any], settings: NotifySettings) -> None:
    to = [name for name, way in (("webhook", settings.url), ("command", settings.command)) if way]
    if to and change["event"] in settings.events:
        outbox.put(target, change, to=to)
        log.info("change of state to be told", told=change["event"], to=to)
