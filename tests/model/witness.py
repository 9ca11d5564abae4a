"""A witness who knows who made which image, and judges every write of ours.

It learns who made what from the calls themselves. What an image says of itself, in properties, tags
or its name, proves nothing to it: those are what copies copy and people change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from retrofit.model import Image
from retrofit.plan import is_eligible, octavia_order
from retrofit.plan.image_state import OLD_REJECTED_AT, PROMOTED_AT, REJECTED_AT
from tests.model.installations import Installation
from tests.model.lagging import ObservedWorld
from tests.model.made import Made
from tests.model.processes import Process
from tests.unit.images import OWN

LOOK_AGAIN = timedelta(seconds=30)
"""How far behind its own looks a process may be where reads lag."""


def is_evidence(image: Image) -> bool:
    """Return True for a record that goes with an amphora image, by the word of who made it."""
    return image.property("retrofit_evidence_of") is not None


class Witness:
    """Sees every call of ours and every act of others; `broken` is what should not have been."""

    def __init__(self, world: ObservedWorld) -> None:
        self.world = world
        self.broken: list[str] = []
        self.made: dict[str, Made] = {}
        self.left_at: dict[str, datetime] = {}
        """When Octavia could take an image for the last time."""
        self.left_with: dict[str, int] = {}
        """With which event of the world that was."""
        self.lent: set[str] = set()
        """What others tagged or showed: nobody of us can know how long it stood."""
        self.taken_away: list[tuple[str, int, datetime, Any]] = []
        """Tags that others took from images: the tag, the event, when, and which process did."""
        self.tagged_at: dict[tuple[str, str], tuple[int, datetime]] = {}
        """With which event others gave an image a tag."""
        self.alive: list[Process] = []
        self.installations: set[Installation] = set()

    # What there is.

    def standing(self, installation: Installation) -> list[Image]:
        """Return the installation's own images that Octavia could take, newest first."""
        found = [
            image
            for image in self.world.images.values()
            if is_eligible(image, installation.tag)
            and self.is_of(image.id, installation)
            and not is_evidence(image)
        ]
        return sorted(found, key=octavia_order, reverse=True)

    def images_of(self, installation: Installation) -> list[Image]:
        """Return all images of an installation, the oldest first."""
        found = [
            each
            for each in self.world.images.values()
            if self.is_of(each.id, installation) and not is_evidence(each)
        ]
        return sorted(found, key=octavia_order)

    def is_of(self, image_id: str, installation: Installation) -> bool:
        """Return True if an installation made an image, or adopted it."""
        made = self.made.get(image_id)
        return image_id in installation.adopted or (made is not None and made.by is installation)

    def could_take(self, tag: str) -> bool:
        """Return True if Octavia finds an image of our project by a tag."""
        return any(
            image.owner == OWN and is_eligible(image, tag) for image in self.world.images.values()
        )

    # What others do.

    @contextmanager
    def others_act(self, by: Any = None) -> Iterator[None]:
        """See what others than a process of ours change within the block."""
        self.world.happens()
        before = dict(self.world.images)
        yield
        for number in before.keys() | self.world.images.keys():
            was, now = before.get(number), self.world.images.get(number)
            if was is not now:
                self._note(was, now, by)
                for tag in (now.tags if now else frozenset()) - (was.tags if was else frozenset()):
                    self.tagged_at[number, tag] = self.world.events, self.world.now
                if now is not None and any(
                    is_eligible(now, tag) and not (was and is_eligible(was, tag))
                    for tag in now.tags
                ):
                    self.lent.add(number)

    def _note(self, before: Image | None, after: Image | None, by: Any) -> None:
        """Remember from when on Octavia can take an image no more."""
        if before is None:
            return
        for tag in before.tags:
            if is_eligible(before, tag) and not (after is not None and is_eligible(after, tag)):
                self.left_at[before.id] = self.world.now
                self.left_with[before.id] = self.world.events
                self.taken_away.append((tag, self.world.events, self.world.now, by))

    def others_took(self, process: Process, tag: str) -> bool:
        """Return True if others took the tag from an image since the process looked last."""
        return any(
            each == tag and by is not process and self.is_news(process, event, at)
            for each, event, at, by in reversed(self.taken_away)
        )

    def is_news_of(self, process: Process, image_id: str, tag: str) -> bool:
        """Return True if a process may not have seen yet that others tagged an image."""
        tagged = self.tagged_at.get((image_id, tag))
        return tagged is not None and self.is_news(process, *tagged)

    def is_news(self, process: Process, event: int, at: datetime) -> bool:
        """Return True if the last look of a process may not have shown yet what others did."""
        since = self.world.now - self.world.lag - LOOK_AGAIN
        return event >= process.looked_at or bool(self.world.lag and at >= since)

    # What we do.

    def begins(self, process: Process) -> None:
        """Remember how things stand when a process of ours begins."""
        self.alive.append(process)
        self.installations.add(process.installation)
        process.stood = {
            image.id
            for image in self.world.images.values()
            if any(is_eligible(image, tag) for tag in image.tags)
        }
        standing = self.standing(process.installation)
        if standing and standing[0].id not in self.world.lost:
            process.stood_first = standing[0].id

    def ends(self, process: Process) -> None:
        """See a process end, by its death or otherwise."""
        self.alive.remove(process)

    def require(self, holds: bool, promise: str) -> None:
        if not holds:
            self.broken.append(promise)

    def saw(self, process: Process, what: str, before: Image | None, after: Image | None) -> None:
        """Judge one change by a process of ours, which has just been made."""
        image = before or after
        if image is None or what == "look at":
            return
        process.changes.append(f"{what} {image.id}")
        if what == "create":
            self._created(process, image)
            return
        self._note(before, after, process)
        if what == "update" and before is not None and after is not None:
            self._note_rejection(process, before, after)
        self.judge(process, what, before, after)

    def judge(self, process: Process, what: str, before: Image | None, after: Image | None) -> None:
        """Judge a change of an image that there was before."""

    def _created(self, process: Process, image: Image) -> None:
        process.made.add(image.id)
        self.made[image.id] = Made(
            by=process.installation,
            how=f"made by {process.installation.name} on {process.site.name}",
            site=process.site,
            process=process,
            trust=process.installation.trust,
            level=process.installation.level,
        )

    def _note_rejection(self, process: Process, before: Image, after: Image) -> None:
        made = self.made.get(after.id)
        if made is None:
            return
        marks = (REJECTED_AT, OLD_REJECTED_AT)
        if process.action in {"promote", "rollback"}:
            made.rejected = self.world.events if any(map(after.property, marks)) else None
        elif after.property(PROMOTED_AT) != before.property(PROMOTED_AT):
            made.rejected = None
