"""The pause that is in force for a target: on its images in Glance, or a record of this machine.

It is on every image, since any of them may be deleted, and in a record of each machine that met it,
since all of them may be. The record names the images that carried it, and counts when they are all
gone: as long as one is there, it is what the images carry that counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retrofit.config import Target
from retrofit.model import Image
from retrofit.plan import Inventory, Pause, in_force, pauses_on
from retrofit.runs import store


@dataclass(frozen=True, kw_only=True)
class StandingPause:
    """The pause that is in force, if any; `lost` is whether this machine's record alone has it."""

    pause: Pause | None
    lost: bool = False

    def warnings(self, target: str) -> tuple[str, ...]:
        """Return what an operator has to know."""
        if not self.lost:
            return ()
        return (
            "no image carries the pause any more, those that did were deleted: it is kept by this"
            " machine, and other machines may run;"
            f" `retrofit --target {target} resume` ends it,"
            f" `retrofit --target {target} pause --reason TEXT` renews it",
        )


def pause_of(inventory: Inventory, target: Target, state_dir: Path) -> Pause | None:
    """Return the pause that is in force for a target, wherever it is written."""
    return standing_pause(inventory, target, state_dir).pause


def standing_pause(inventory: Inventory, target: Target, state_dir: Path) -> StandingPause:
    """Return the pause that is in force for a target, and whether only this machine has it."""
    ours = inventory.ours(target)
    on_images = pauses_on(ours)
    records = [store.read(path) for path in paths_of(state_dir, target)]
    here = [
        (Pause.from_dict(record), _carriers(record))
        for record in records
        if record is not None and _counts(record, ours, paused=bool(on_images))
    ]
    pause = in_force([*on_images, *(each for each, _ in here)], inventory.now)
    lost = any(pause == each and bool(carriers) for each, carriers in here)
    return StandingPause(pause=pause, lost=lost)


def _counts(record: dict[str, object], ours: Iterable[Image], *, paused: bool) -> bool:
    """Return True unless our images show that a recorded pause was ended or replaced.

    One that another installation adopted shows nothing of our pause any more.
    """
    carriers = _carriers(record)
    if not carriers:
        return True  # ordered when there was no image
    return not paused and not any(image.id in carriers for image in ours)


def keep_locally(pause: Pause, carriers: Iterable[Image], target: Target, state_dir: Path) -> None:
    """Record a pause on this machine, and the images that carry it. Raises OSError."""
    record = {**pause.as_dict(), "images": sorted(image.id for image in carriers)}
    if store.read(path_of(state_dir, target)) != record:
        store.write(path_of(state_dir, target), record)


def forget_locally(target: Target, state_dir: Path) -> None:
    """Remove this machine's records of a pause, if there are any. Raises OSError."""
    for path in paths_of(state_dir, target):
        store.remove(path)


def path_of(state_dir: Path, target: Target) -> Path:
    """Return where this machine keeps the pause of a target."""
    return paths_of(state_dir, target)[0]


def paths_of(state_dir: Path, target: Target) -> list[Path]:
    """Return where such a pause may be, by present and former names of the target."""
    names = (target.name, *target.formerly)
    return [store.directory_of(state_dir, name) / "paused.json" for name in names]


def _carriers(record: dict[str, object]) -> frozenset[str]:
    """Return the ids of the images that carried a recorded pause; 0.1.0 recorded none."""
    images = record.get("images")
    return frozenset(map(str, images)) if isinstance(images, list) else frozenset()
