"""Stop the runs of a target for a while, on every machine that serves it.

A pause is written on the promoted image, as Glance is what all machines share. A target without
any image has a local record instead, which only this machine sees.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from retrofit import state
from retrofit.cloud import Glance
from retrofit.config import Target
from retrofit.errors import ConfigError
from retrofit.plan import Inventory, Pause, in_force, pauses_on, promoted_image
from retrofit.plan.pause import PROPERTY


def pause_of(inventory: Inventory, target: Target, state_dir: Path) -> Pause | None:
    """Return the pause that is in force for a target, wherever it is written."""
    pauses = pauses_on(inventory.ours(target.name))
    record = state.read(_path(state_dir, target))
    if record is not None:
        pauses.append(Pause.from_dict(record))
    return in_force(pauses, inventory.now)


def write_pause(
    glance: Glance, inventory: Inventory, target: Target, state_dir: Path, pause: Pause
) -> bool:
    """Replace any pause of a target by this one; says whether all machines will see it.

    Raises PublishError, or ConfigError when the local record cannot be written.
    """
    ours = inventory.ours(target.name)
    carrier = promoted_image(inventory, target) or next(iter(ours), None)
    if carrier is None:
        try:
            state.write(_path(state_dir, target), pause.as_dict())
        except OSError as error:
            raise ConfigError(
                f"cannot write {error.filename}: {error.strerror}",
                hint="run as root, or set paths.state",
            ) from error
        return False
    # Written before others are removed: no run gets in between.
    glance.update(carrier.id, {PROPERTY: json.dumps(pause.as_dict())})
    _remove(glance, inventory, target, state_dir, but=carrier.id)
    return True


def remove_pause(glance: Glance, inventory: Inventory, target: Target, state_dir: Path) -> None:
    """End every pause of a target, those that ran out too."""
    _remove(glance, inventory, target, state_dir, but=None)


def order_by_me(reason: str, until: datetime | None) -> Pause:
    """Make the pause that the person at this terminal orders."""
    who = os.environ.get("SUDO_USER") or getpass.getuser()
    return Pause(
        reason=reason,
        since=datetime.now(UTC),
        by=f"{who}@{socket.gethostname()}",
        until=until,
    )


def _remove(
    glance: Glance, inventory: Inventory, target: Target, state_dir: Path, *, but: str | None
) -> None:
    for image in inventory.ours(target.name):
        if image.property(PROPERTY) and image.id != but:
            glance.update(image.id, {PROPERTY: None})
    try:
        state.remove(_path(state_dir, target))
    except OSError as error:
        raise ConfigError(
            f"cannot remove {error.filename}: {error.strerror}", hint="run as root"
        ) from error


def _path(state_dir: Path, target: Target) -> Path:
    return state.directory_of(state_dir, target.name) / "paused.json"
