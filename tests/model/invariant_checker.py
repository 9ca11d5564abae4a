"""What must never happen to images, said by somebody who sees everything and knows no plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from retrofit.config import Target
from retrofit.model import UNFINISHED, Image
from retrofit.plan import CHARM_TAG, is_usable, octavia_order
from tests.model.world import World
from tests.unit.images import OWN

TAG = "octavia-amphora"


def of_target(image: Image) -> bool:
    """Return True for an image of the target, and for what is kept beside one."""
    names = ("retrofit_target", "retrofit_evidence_target")
    return image.owner == OWN and any(image.property(name) == "default" for name in names)


def is_evidence(image: Image) -> bool:
    return image.property("retrofit_evidence_of") is not None


class InvariantChecker:
    """Sees every change that we make to an image, and says which one should not have been."""

    def __init__(self, world: World, target: Target) -> None:
        self.world = world
        self.target = target
        self.broken: list[str] = []
        self.changes: list[str] = []
        self.taken_away = False
        """Whether others took something from Octavia since we looked last."""
        self.free_since: dict[str, datetime] = {}
        """When an image was last one that Octavia could have taken."""
        self.asked: set[str] | None = None
        """On what amphorae ran when Octavia was asked last; None where it did not answer."""
        self.looked: dict[str, int] = {}
        """At which call of ours we looked at an image by itself."""
        self.call = 0
        """Which call of ours it is."""
        self.unusable_since: dict[str, int] = {}
        """Before which call of ours others made an image one that cannot be promoted."""
        self.made_now: set[str] = set()
        """What this process made: it may take it back."""
        self.lent: set[str] = set()
        """What others tagged: between two looks of ours nobody can know how long it stood."""

    def a_process_begins(self) -> None:
        """Forget what only matters within one process of ours."""
        self.changes.clear()
        self.unusable_since.clear()
        self.looked.clear()
        self.made_now.clear()
        self.taken_away = False
        self.asked = None

    def looks(self) -> None:
        """See that we read all that we need to know."""
        self.taken_away = False

    def asks(self) -> None:
        """See that we ask Octavia."""
        running = {machine.image_id for machine in self.world.machines.values()}
        self.asked = running if self.world.octavia_answers else None

    def require(self, holds: bool, promise: str) -> None:
        if not holds:
            self.broken.append(promise)

    def standing(self) -> list[Image]:
        return [image for image in self.world.eligible(TAG) if of_target(image)]

    def note_time(self) -> None:
        """Remember that what Octavia could take now it could take until now."""
        for image in self.world.eligible(TAG):
            self.free_since[image.id] = self.world.time

    def before(self, call: int) -> None:
        """Remember how things stand before a call of ours."""
        self.call = call
        self.note_time()
        self.could_take = {image.id for image in self.world.eligible(TAG)}
        self.stood = [image.id for image in self.standing()]

    @contextmanager
    def others_act(self) -> Iterator[None]:
        """See what others change within the block."""
        self.note_time()
        could_take = {image.id for image in self.world.eligible(TAG)}
        usable = self._usable()
        yield
        for number in could_take - {image.id for image in self.world.eligible(TAG)}:
            self.taken_away = True
            self.free_since[number] = self.world.time
        for number in usable - self._usable():
            self.unusable_since[number] = self.call
        for number in self._usable():
            self.unusable_since.pop(number, None)

    def _usable(self) -> set[str]:
        return {image.id for image in self.world.images.values() if is_usable(image)}

    def saw(self, what: str, before: Image | None, after: Image | None) -> None:
        """Judge one change of ours, which has just been made; remember what we looked at."""
        image = before or after
        if image is None:
            return
        if what == "look at":
            self.looked[image.id] = self.call
            return
        self.changes.append(f"{what} {image.id}")
        if is_evidence(image):
            self._saw_evidence(what, image, after)
            return
        adopted = (
            self.target.publish.replace_charm_images and CHARM_TAG in image.tags and what == "untag"
        )
        self.require(image.owner == OWN, f"{what} an image of another project")
        self.require(of_target(image) or adopted, f"{what} an image that is not of the target")
        if not self.taken_away:
            left = {one.id for one in self.world.eligible(TAG)}
            self.require(bool(left) or not self.could_take, f"{what}: Octavia is left with nothing")
            self.require(
                bool(self.standing()) or not self.stood, f"{what}: nothing of ours is left promoted"
            )
        # A record of ours without bytes is only tried.
        tried = image.id in self.made_now and image.status in UNFINISHED
        if what == "tag" and not tried:
            # One call may lie between: what was hidden is shown first.
            looked = self.looked.get(image.id, -9)
            self.require(looked >= self.call - 2, "promoted without another look")
            seen = self.unusable_since.get(image.id, -9) <= looked
            self.require(is_usable(image) or not seen, "promoted what was seen to be unusable")
        if what == "create":
            self.made_now.add(image.id)
        if what == "delete" and image.id not in self.made_now and image.status not in UNFINISHED:
            self._retired(image)

    def _saw_evidence(self, what: str, image: Image, after: Image | None) -> None:
        self.require(image.owner == OWN, f"{what} evidence of another project")
        self.require(what != "tag", "tagged evidence")
        self.require(after is None or after.hidden, "showed evidence")
        if what == "delete":
            self.require(not image.protected, "deleted protected evidence")
            self.require(not image.tags, "deleted evidence that others tagged")

    def _retired(self, image: Image) -> None:
        rules = self.target.publish
        self.require(not image.protected, "retired a protected image")
        if not self.taken_away:
            newest = max(self.standing(), key=octavia_order, default=None)
            self.require(newest is not None, "retired with nothing promoted")
            if newest is not None:
                self.require(octavia_order(image) < octavia_order(newest), "retired what is newer")
        free_since = max(self.free_since.get(image.id, image.created_at), image.created_at)
        hours = rules.retire_after
        if self.asked is None:
            hours = max(hours, rules.retire_after_unknown)
        else:
            self.require(image.id not in self.asked, "retired what an amphora runs on")
        self.require(
            image.id in self.lent
            or free_since + timedelta(hours=hours) <= self.world.time + timedelta(seconds=1),
            f"retired {image.id} before {hours} hours had passed since Octavia could take it",
        )
