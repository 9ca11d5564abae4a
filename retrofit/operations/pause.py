"""Stop the runs of targets for a while, on every machine that serves them; and end that.

A pause is written on every image of the target, as Glance is what all machines share, and in a
record of this machine, which is all that there is of it for a target without any image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from retrofit.cloud import Glance, MissingImageError
from retrofit.config import Settings, Target
from retrofit.errors import ConfigError
from retrofit.observe.target import take_inventory
from retrofit.plan import Inventory, Pause, promoted_image
from retrofit.plan.pause import PROPERTY
from retrofit.runner import note_action
from retrofit.runs.own_paths import claim_paths
from retrofit.runs.pauses import forget_locally, keep_locally, pause_of
from retrofit.runs.who import at_this_host, this_person
from retrofit.system.resource_errors import way_out

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class PauseChange:
    """How one target is paused now (None: not), and how it was before.

    `shared` is whether all machines see the pause, or only this one.
    """

    target: str
    pause: Pause | None
    before: Pause | None = None
    shared: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the change as JSON types."""
        document: dict[str, Any] = {
            "target": self.target,
            "paused": None if self.pause is None else self.pause.as_dict(),
        }
        if self.shared is not None:
            document["seen_by"] = (
                "all machines" if self.shared else "this machine (no image carries it yet)"
            )
        if self.pause is None or self.before is not None:
            document["was"] = None if self.before is None else self.before.as_dict()
        return document


def pause(
    targets: Iterable[Target],
    settings: Settings,
    *,
    reason: str,
    until: datetime | None = None,
    by: str | None = None,
) -> list[PauseChange]:
    """Replace any pause of some targets by a new one.

    `by` is who orders it (None: the person at this terminal); it always gets the host's name.
    Raises CloudError and PublishError, and ConfigError when a local record cannot be written, or
    `until` has passed by Glance's clock, which pauses end by.
    """
    claim_paths(settings.paths, "state")
    ordered = new_pause(reason, until, by=by)
    changes = []
    for target in targets:
        glance, inventory = _read(target)
        _require_an_end_to_come(until, inventory.now)
        before = pause_of(inventory, target, settings.paths.state)
        shared = write_pause(glance, inventory, target, settings.paths.state, ordered)
        note_action(target, settings, "pause", outcome="paused", why=ordered.phrase())
        changes.append(PauseChange(target=target.name, pause=ordered, before=before, shared=shared))
    return changes


def _require_an_end_to_come(until: datetime | None, now: datetime) -> None:
    """Raise ConfigError for a pause that would hold nothing back.

    A duration was counted from this machine's clock.
    """
    if until is not None and until <= now:
        raise ConfigError(
            f"the pause would end at {until:%Y-%m-%d %H:%M} UTC, and by Glance's clock it is"
            f" {now:%Y-%m-%d %H:%M}",
            hint="set the clock of this machine by NTP, or name a later time",
        )


def resume(targets: Iterable[Target], settings: Settings) -> list[PauseChange]:
    """End every pause of some targets, those that ran out too. Raises as `pause` does."""
    claim_paths(settings.paths, "state")
    changes = []
    for target in targets:
        glance, inventory = _read(target)
        before = pause_of(inventory, target, settings.paths.state)
        remove_pause(glance, inventory, target, settings.paths.state)
        if before is not None:
            note_action(target, settings, "resume", outcome="resumed", why=f"was {before.phrase()}")
        changes.append(PauseChange(target=target.name, pause=None, before=before))
    return changes


def _read(target: Target) -> tuple[Glance, Inventory]:
    glance = Glance.connect(target.cloud)
    return glance, take_inventory(target, glance)


def new_pause(reason: str, until: datetime | None, *, by: str | None = None) -> Pause:
    """Return a pause from now on, ordered by `by` (None: the person at this terminal)."""
    who = this_person() if by is None else at_this_host(by)
    return Pause(reason=reason, since=datetime.now(UTC), by=who, until=until)


def write_pause(
    glance: Glance, inventory: Inventory, target: Target, state_dir: Path, ordered: Pause
) -> bool:
    """Replace any pause of a target by this one; return whether all machines will see it.

    Raises PublishError, or ConfigError when the local record cannot be written, and no image
    carries the pause either.
    """
    promoted = promoted_image(inventory, target)
    # The promoted image first: 0.1.0 moves a pause there, and reads it there.
    images = sorted(inventory.ours(target), key=lambda image: image is not promoted)
    carriers = []
    for image in images:
        with suppress(MissingImageError):  # others deleted it meanwhile
            glance.update(image.id, {PROPERTY: json.dumps(ordered.as_dict())})
            carriers.append(image)
    try:
        keep_locally(ordered, carriers, target, state_dir)
    except OSError as error:
        if not carriers:
            raise ConfigError(
                f"cannot write {error.filename}: {error.strerror}",
                hint=way_out(error, "paths.state"),
            ) from error
        log.warning("pause not recorded on this machine", reason=str(error))
    return bool(carriers)


def remove_pause(glance: Glance, inventory: Inventory, target: Target, state_dir: Path) -> None:
    """End every pause of a target. Raises as `write_pause`."""
    for image in inventory.ours(target):
        if image.property(PROPERTY):
            with suppress(MissingImageError):
                glance.update(image.id, {PROPERTY: None})
    try:
        forget_locally(target, state_dir)
    except OSError as error:
        raise ConfigError(
            f"cannot remove {error.filename}: {error.strerror}", hint="run as root"
        ) from error
