"""What others do to the world of tests: operators with other tools, tenants, the charm, Octavia."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

from retrofit.model import Image
from retrofit.plan import CHARM_TAG, is_usable, octavia_order
from retrofit.plan.image_state import DEMOTED_AT, OLD_REJECTED_AT, PROMOTED_AT, REJECTED_AT
from retrofit.plan.pause import PROPERTY as PAUSED
from tests.model.invariant_checker import TAG, InvariantChecker, is_evidence, of_target
from tests.model.world import Machine, World

DISK = b"a stock disk"
PRODUCT = "com.ubuntu.cloud:server:24.04:amd64"
ACTS = (
    "plant a look-alike", "make one with the charm", "untag", "tag", "hide", "show", "protect",
    "unprotect", "delete", "deactivate", "reactivate", "spoil", "keep in the store", "boot",
    "come up", "stop", "release a source", "let a source vanish", "promote as 0.1.0 does",
    "delete evidence", "tag evidence", "protect evidence",
)  # fmt: skip


def pick(images: Iterable[Image], number: int) -> Image | None:
    """Choose one of the images, the last one by 0."""
    listed = list(images)
    return listed[-1 - number % len(listed)] if listed else None


class Others:
    """Everybody but us. `took_a_pause` says whether an image that they deleted carried one."""

    def __init__(self, world: World, checker: InvariantChecker) -> None:
        self.world = world
        self.checker = checker
        self.took_a_pause = False
        self._serials = itertools.count(1)

    def ours(self) -> list[Image]:
        """Return the images of the target, the oldest first."""
        return sorted(filter(of_target, self.world.images.values()), key=octavia_order)

    def sources(self) -> list[Image]:
        """Return the stock images."""
        return [one for one in self.world.images.values() if one.property("product_name")]

    def act(self, what: str, which: int) -> None:
        """Do one thing to one of the images, or to something else."""
        with self.checker.others_act():
            if not self._act_on_the_world(what, which):
                image = pick(self.ours(), which)
                if image is not None:
                    self._act_on(image, what)

    def _act_on_the_world(self, what: str, which: int) -> bool:
        world = self.world
        if what == "plant a look-alike":
            copied = pick(self.ours(), which) or pick(self.sources(), which)
            properties = dict(copied.properties) if copied else {}
            world.add(b"hostile", owner="tenant", tags=frozenset({TAG}), properties=properties)
        elif what == "make one with the charm":
            world.add(
                b"of the charm",
                tags=frozenset({TAG, CHARM_TAG}),
                properties={
                    "source_product_name": PRODUCT,
                    "source_version_name": f"202611{next(self._serials):02}",
                },
            )
        elif what == "release a source":
            self.release()
        elif what == "let a source vanish":
            source = pick(self.sources(), which)
            if source is not None:
                del world.images[source.id]
        elif what == "boot":
            taken = next(iter(world.eligible(TAG)), None)
            if taken is not None:
                number = world.new_id()
                world.machines[number] = Machine(
                    id=number, image_id=taken.id, created_at=world.now, up=False
                )
        elif what.endswith(" evidence"):
            self._act_on_evidence(what, which)
        elif what in {"come up", "stop"}:
            self._act_on_a_machine(what, which)
        else:
            return False
        return True

    def _act_on_evidence(self, what: str, which: int) -> None:
        record = pick(filter(is_evidence, self.world.images.values()), which)
        if record is None:
            return
        if what == "delete evidence":
            del self.world.images[record.id]
        elif what == "tag evidence":
            self.world.change(record.id, tags=record.tags | {TAG})
        else:
            self.world.change(record.id, protected=True)

    def _act_on_a_machine(self, what: str, which: int) -> None:
        machines = self.world.machines
        if not machines:
            return
        number = sorted(machines)[which % len(machines)]
        if what == "stop":
            del machines[number]
        else:
            machines[number] = replace(machines[number], up=True)

    def _act_on(self, image: Image, what: str) -> None:
        world = self.world
        if what == "untag":
            world.change(image.id, tags=image.tags - {TAG})
        elif what == "tag":
            world.change(image.id, tags=image.tags | {TAG})
            self.checker.lent.add(image.id)
        elif what in {"hide", "show"}:
            world.change(image.id, hidden=what == "hide")
        elif what in {"protect", "unprotect"}:
            world.change(image.id, protected=what == "protect")
        elif what == "delete" and not image.protected:
            del world.images[image.id]
            if image.property(PAUSED):
                self.took_a_pause = True
        elif what == "deactivate" and image.status == "active":
            world.change(image.id, status="deactivated")
        elif what == "reactivate" and image.status == "deactivated":
            world.change(image.id, status="active")
        elif what == "spoil" and image.status == "active":
            world.change(image.id, hash_value="of other bytes")
        elif what == "promote as 0.1.0 does" and is_usable(image):
            self._promote_as_0_1_0(image)
        elif what == "keep in the store" and image.size:
            world.in_use_in_store ^= {image.id}

    def _promote_as_0_1_0(self, image: Image) -> None:
        """Promote as a machine of 0.1.0 does, which knows a rejection by its old name only."""
        properties = dict(image.properties)
        properties[PROMOTED_AT] = self.world.now.isoformat(timespec="seconds")
        for name in (DEMOTED_AT, OLD_REJECTED_AT):
            properties.pop(name, None)
        tags = image.tags | {TAG}
        self.world.change(image.id, tags=tags, hidden=False, properties=properties)
        self.checker.lent.add(image.id)

    def rejections_are_of_0_1_0(self) -> None:
        """Leave of every rejection the name by which 0.1.0 knows it."""
        for image in self.ours():
            properties = dict(image.properties)
            properties.pop(REJECTED_AT, None)
            self.world.change(image.id, properties=properties)

    def release(self) -> None:
        """Let the synchroniser add a newer version."""
        version = f"202611{next(self._serials):02}"
        self.world.add(
            DISK + version.encode(),
            name=f"auto-sync/ubuntu-noble-24.04-amd64-server-{version}-disk1.img",
            disk_format="qcow2",
            properties={
                "product_name": PRODUCT,
                "version_name": version,
                "item_name": "disk1.img",
                "os_distro": "ubuntu",
                "os_version": "24.04",
                "architecture": "x86_64",
            },
        )
