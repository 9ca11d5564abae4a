"""Read the status of targets, from the cloud and from this machine; nothing is changed."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from datetime import UTC, datetime

from retrofit.config import Settings, Target
from retrofit.status import (
    StatusDocument,
    TargetStatus,
    look,
    status_document,
    target_status,
    undelivered,
)
from retrofit.status.cloud import ask

DEGRADED_EXIT_CODE = 8
NO_IMAGE_EXIT_CODE = 9
EMERGENCY = frozenset({"no_image", "never_run"})
"""States in which no image of ours is promoted."""
DEGRADED = frozenset({"no_image", "never_run", "cloud_unreachable", "failed", "backoff", "stale"})


def target_statuses(targets: Iterable[Target], settings: Settings) -> list[TargetStatus]:
    """Return the status of some targets; without an answer of the cloud, what is known here."""
    local = look(settings)
    return [
        target_status(
            target,
            settings,
            ask(target, settings, fleet=False),
            local[target.name],
            now=datetime.now(UTC),
        )
        for target in targets
    ]


def exit_code_of(statuses: Iterable[TargetStatus]) -> int:
    """Return 9 where Octavia finds no image for a target, else 8 where one is degraded, else 0.

    A pause and a run in progress are no failures: somebody wanted them.
    """
    found = list(statuses)
    if any(EMERGENCY & set(each.states) and each.octavia_image is None for each in found):
        return NO_IMAGE_EXIT_CODE
    return DEGRADED_EXIT_CODE if any(DEGRADED & set(each.states) for each in found) else 0


def status_now(settings: Settings) -> StatusDocument:
    """Return the status of all targets, with what their amphorae run on."""
    return status_document(
        settings,
        {target.name: ask(target, settings) for target in settings.targets},
        look(settings),
        now=datetime.now(UTC),
        host=socket.gethostname(),
        undelivered=undelivered(settings),
    )
