"""What everybody else does to images: other services, other tools, people, and the store.

Each act is done to the image that a number picks. Nothing here asks what is ours: copies carry what
those services were measured to copy.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import replace

from retrofit.model import Image
from retrofit.plan import octavia_order
from tests.model.lagging import ObservedWorld, VolumeBacked
from tests.model.made import Made
from tests.model.witness import Witness, is_evidence
from tests.model.world import Machine

STOCK = b"a stock disk "
"""How the bytes of every true source begin."""
FLAVOR_TAG = "octavia-amphora-pinned"
"""A tag that an Octavia flavor names, or that an operator knows the use of."""


def copy_of(source_id: str) -> bytes:
    """Return the bytes of a server's disk that came of a source."""
    return f"a server's disk, once {source_id}".encode()


def pick(images: Iterable[Image], number: int) -> Image | None:
    """Choose one of the images, the last one by 0."""
    listed = list(images)
    return listed[-1 - number % len(listed)] if listed else None


class Strangers:
    """Everybody but the installations, in one world, seen by its witness."""

    def __init__(self, world: ObservedWorld, witness: Witness) -> None:
        self.world = world
        self.witness = witness
        self.interfered: set[str] = set()
        """Images that people or other services changed by hand."""
        self._serials = itertools.count(1)
        self.acts: dict[str, Callable[[Image], None]] = {
            "copy by way of a volume": self._copy_of_a_volume,
            "copy by a replicator": self._copy_by_a_replicator,
            "save and create": self._save_and_create,
            "snapshot by Nova": self._snapshot,
            "plant a look-alike": self._plant,
            "tag for a flavor": lambda image: self._tags(image, add=FLAVOR_TAG),
            "untag by hand": self._untag,
            "tag by hand": self._tag_again,
            "hide by hand": lambda image: self._change(image, hidden=True),
            "show by hand": lambda image: self._change(image, hidden=False),
            "protect": lambda image: world.change(image.id, protected=True),
            "unprotect": lambda image: world.change(image.id, protected=False),
            "delete by hand": self._delete,
            "deactivate": lambda image: self._status(image, "active", "deactivated"),
            "reactivate": lambda image: self._status(image, "deactivated", "active"),
            "lose the bytes": lambda image: self._lose(image, b""),
            "lose the last bytes": lambda image: self._lose(
                image, world.content.get(image.id, b"")[:-1] + b"?"
            ),
        }

    def amphora_images(self) -> list[Image]:
        """Return the images of our project that are no sources, the oldest first."""
        found = [
            one
            for one in self.world.images.values()
            if not one.property("product_name") and not is_evidence(one)
        ]
        return sorted(found, key=octavia_order)

    def act_on_evidence(self, what: str, which: int) -> None:
        """Do one thing to a record that goes with an amphora image."""
        record = pick(filter(is_evidence, self.world.images.values()), which)
        if record is not None:
            with self.witness.others_act():
                self.acts[what](record)

    def sources(self) -> list[Image]:
        """Return the images that the synchroniser made."""
        return [
            one for one in self.world.images.values() if self.witness.made[one.id].how == "a source"
        ]

    def act(self, what: str, which: int) -> None:
        """Do one thing to the image that a number picks."""
        image = pick(self.amphora_images(), which)
        if image is not None:
            with self.witness.others_act():
                self.acts[what](image)

    def add(self, content: bytes, how: str, *, of: Image | None = None, **fields: object) -> Image:
        """Register an image that no process of ours makes; `of` is what it is a copy of."""
        image = self.world.add(content, **fields)
        copy_of = None if of is None else of.id
        self.witness.made[image.id] = Made(by=None, how=how, copy_of=copy_of)
        return image

    # Copies: all custom properties, another id, another owner's or the same project.

    def _copy_of_a_volume(self, image: Image) -> None:
        """Cinder copies all custom properties and no tag (volume/api.py); by default raw."""
        self.add(
            b"the disk of a server that ran",
            f"Cinder's copy of {image.id}",
            of=image,
            disk_format="raw",
            properties=dict(image.properties),
        )

    def _copy_by_a_replicator(self, image: Image) -> None:
        """glance-replicator and tools like it carry everything over, tags too."""
        self._copy(image, f"a replica of {image.id}", tags=image.tags)

    def _save_and_create(self, image: Image) -> None:
        """`image save`, then `create` with the same properties: the bytes are the same."""
        self._copy(image, f"saved of {image.id} and created", tags=frozenset())

    def _copy(self, image: Image, how: str, *, tags: frozenset[str]) -> None:
        if image.status != "active" or image.id not in self.world.content:
            return
        self.add(
            self.world.content[image.id],
            how,
            of=image,
            disk_format=image.disk_format,
            hidden=image.hidden,
            tags=tags,
            properties=dict(image.properties),
        )

    def _snapshot(self, image: Image) -> None:
        """Nova's snapshot of an amphora has its image's properties, and Nova's own."""
        self.add(
            b"the memory of a server",
            f"Nova's snapshot of {image.id}",
            of=image,
            properties={**image.properties, "image_type": "snapshot", "base_image_ref": image.id},
        )

    def _plant(self, image: Image) -> None:
        self.add(
            b"hostile",
            "a tenant's",
            owner="tenant",
            tags=image.tags,
            properties=dict(image.properties),
        )

    # By hand.

    def _change(self, image: Image, **fields: object) -> None:
        self.interfered.add(image.id)
        self.world.change(image.id, **fields)

    def _tags(self, image: Image, *, add: str) -> None:
        self._change(image, tags=image.tags | {add})

    def _untag(self, image: Image) -> None:
        self._change(image, tags=frozenset())

    def _tag_again(self, image: Image) -> None:
        """Give an image the tag of the image that was promoted last."""
        tagged = [each for each in self.amphora_images() if each.tags]
        if tagged:
            self._change(image, tags=image.tags | {min(tagged[-1].tags)})

    def _delete(self, image: Image) -> None:
        if not image.protected:
            del self.world.images[image.id]

    def _status(self, image: Image, was: str, becomes: str) -> None:
        if image.status == was:
            self._change(image, status=becomes)

    def _lose(self, image: Image, left: bytes) -> None:
        """The store loses the bytes, all or some; Glance's record stays as it was."""
        if image.status == "active":
            self.world.lost.setdefault(image.id, self.world.events)
            self.world.content[image.id] = left

    # Sources.

    def release(self, *, release: str = "24.04", digests: bool = True) -> Image:
        """Let the synchroniser add a newer version."""
        version = f"2026{1 + next(self._serials):04}"
        content = STOCK + f"{release} {version}".encode()
        said = {
            "md5": hashlib.md5(content).hexdigest(),  # noqa: S324  (as streams have it)
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": str(len(content)),
            "ftype": "disk1.img",
        }
        with self.witness.others_act():
            return self.add(
                content,
                "a source",
                name=f"auto-sync/ubuntu-{release}-amd64-server-{version}-disk1.img",
                disk_format="qcow2",
                properties={
                    "product_name": f"com.ubuntu.cloud:server:{release}:amd64",
                    "version_name": version,
                    "item_name": "disk1.img",
                    "os_distro": "ubuntu",
                    "os_version": release,
                    "architecture": "x86_64",
                    **({"simplestreams_metadata": json.dumps(said)} if digests else {}),
                },
            )

    def take_sources_away(self, release: str) -> list[Image]:
        """Let all sources of a release be absent; returns them, to be put back."""
        gone = [each for each in self.sources() if each.property("os_version") == release]
        with self.witness.others_act():
            for image in gone:
                del self.world.images[image.id]
        return gone

    def put_back(self, images: Iterable[Image]) -> None:
        """Let sources be there again."""
        with self.witness.others_act():
            for image in images:
                self.world.images[image.id] = image

    def copy_a_source(self, disk_format: str) -> None:
        """A server was started from the newest source, its volume is uploaded as an image."""
        source = pick(self.sources(), 0)
        if source is not None:
            with self.witness.others_act():
                self.add(
                    copy_of(source.id),
                    f"a volume that came of {source.id}",
                    name="jump-host",
                    disk_format=disk_format,
                    properties=dict(source.properties),
                )

    # Octavia.

    def boot(self, tag: str, *, volume: bool) -> None:
        """Octavia starts an amphora from what it finds by a tag."""
        taken = next(iter(self.world.eligible(tag)), None)
        if taken is not None:
            number = self.world.new_id()
            kind = VolumeBacked if volume else Machine
            self.world.machines[number] = kind(
                id=number, image_id=taken.id, created_at=self.world.now, up=False
            )

    def come_up_or_stop(self, which: int) -> None:
        """One amphora is up; or goes, if it is up already."""
        machines = self.world.machines
        if machines:
            number = sorted(machines)[which % len(machines)]
            if machines[number].up:
                del machines[number]
            else:
                machines[number] = replace(machines[number], up=True)
