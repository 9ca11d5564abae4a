"""Deliver queued notifications, and test their receivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from retrofit.config import Settings
from retrofit.errors import ConfigError
from retrofit.notify import Outbox, delivery
from retrofit.notify.outbox import QueuedNotification
from retrofit.runs.own_paths import claim_paths
from retrofit.system.resource_errors import way_out


@dataclass(frozen=True, kw_only=True)
class Deliveries:
    """What is queued still, and the error of each receiver that was tested (None: delivered)."""

    queued: tuple[QueuedNotification, ...]
    tested: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def failed_tests(self) -> list[str]:
        """Return the errors of the tests."""
        return [error for error in self.tested.values() if error is not None]


def deliver_notifications(settings: Settings, *, test: bool = False) -> Deliveries:
    """Try once to deliver all that is queued; with `test`, send a test to each receiver before.

    Raises ConfigError where a test has no receiver, or the queue cannot be used.
    """
    if test and settings.notify.url is None and not settings.notify.command:
        raise ConfigError(
            "no receiver of notifications is configured",
            hint="set notify.url or notify.command in the configuration",
        )
    claim_paths(settings.paths, "state")
    tested = delivery.send_test(settings.notify) if test else {}
    once = settings.notify.model_copy(update={"retries": 0})
    outbox = Outbox(settings.paths.state)
    try:
        delivery.deliver(outbox, once, at_once=True)
    except OSError as error:
        raise ConfigError(
            f"cannot use {error.filename}: {error.strerror}",
            hint=way_out(error, "paths.state"),
        ) from error
    queued = tuple(each for queue in outbox.queues() for each in queue.values())
    return Deliveries(queued=queued, tested=tested)
