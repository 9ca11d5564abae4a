"""A machine of release 0.1.0, as far as images show it: its records do not name themselves.

tests/upgrade runs that release itself. This is what it does to images in one run, so that random
histories can have one among them; what it takes for its own is what it took (any image of the
project with the name of its target).
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass

from retrofit.model import Image, version_key
from retrofit.plan import is_eligible, octavia_order
from tests.model.installations import known_recipe
from tests.model.lagging import ObservedWorld
from tests.model.made import Made, Old
from tests.model.strangers import Strangers
from tests.model.witness import Witness
from tests.unit.images import OWN


@dataclass(kw_only=True)
class Machine01:
    """One machine of 0.1.0, and the tag and target that it was configured with."""

    old: Old
    host: str
    world: ObservedWorld
    witness: Witness
    strangers: Strangers
    dies: bool = False
    """Whether its next run dies in its upload."""

    def __post_init__(self) -> None:
        self._serials = itertools.count(1)

    def run(self) -> None:
        """Build from the newest source if that is newer, promote, demote, hide, delete."""
        sources = self.strangers.sources()
        if not sources:
            return
        source = max(sources, key=lambda each: version_key(each.property("version_name") or ""))
        with self.witness.others_act(self):
            ours = self._ours()
            tagged = [each for each in ours if is_eligible(each, self.old.tag)]
            promoted = tagged[-1] if tagged else None
            version = source.property("version_name")
            if promoted is None or promoted.property("source_version_name") != version:
                promoted = self._build(source)
                if promoted is None:
                    return
            self._demote_all_but(promoted)

    def _ours(self) -> list[Image]:
        found = [
            each
            for each in self.world.images.values()
            if each.property("retrofit_target") == self.old.target_name
            and each.owner == OWN
            and not each.is_snapshot
        ]
        return sorted(found, key=octavia_order)

    def _build(self, source: Image) -> Image | None:
        world = self.world
        data = f"amphora of 0.1.0 on {self.host} {self.old} {next(self._serials)}".encode()
        self.world.pass_time(minutes=7)
        image = world.add(
            name=f"amphora-haproxy-x86_64-ubuntu-24.04-{source.property('version_name')}",
            disk_format="qcow2",
            min_disk=3,
            properties={
                "architecture": "x86_64",
                "os_type": "linux",
                "os_distro": "ubuntu",
                "os_version": source.property("os_version") or "",
                "source_product_name": source.property("product_name") or "",
                "source_version_name": source.property("version_name") or "",
                "retrofit_target": self.old.target_name,
                "retrofit_run_id": f"20261101T000000Z-{next(self._serials):06x}",
                "retrofit_host": self.host,
                "retrofit_version": "0.1.0",
                "retrofit_recipe": known_recipe(()).digest,
                "retrofit_source_id": source.id,
                "retrofit_source_hash": f"sha512:{source.hash_value}",
                "retrofit_source_sha256": hashlib.sha256(world.content[source.id]).hexdigest(),
                "retrofit_source_trust": "digest",
                "retrofit_image_hash": f"sha512:{hashlib.sha512(data).hexdigest()}",
                "retrofit_verified_at": world.now.isoformat(timespec="seconds"),
                "retrofit_verification": "boot-tcg",
                "haproxy_version": "2.8.5",
            },
        )
        how = f"made by 0.1.0 ({self.old.tag}, {self.old.target_name}) on {self.host}"
        self.witness.made[image.id] = Made(by=self.old, how=how, trust=1, level=1)
        if self.dies:
            self.dies = False
            return None
        world.fill(image.id, data)
        self._mark(world.images[image.id], tag=True)
        return world.images[image.id]

    def _mark(self, image: Image, *, tag: bool) -> None:
        now = self.world.now.isoformat(timespec="seconds")
        properties = dict(image.properties)
        properties["retrofit_promoted_at" if tag else "retrofit_demoted_at"] = now
        if tag:
            for name in ("retrofit_demoted_at", "retrofit_set_aside_at"):
                properties.pop(name, None)
        changed = image.tags | {self.old.tag} if tag else image.tags - {self.old.tag}
        self.world.change(image.id, tags=changed, hidden=not tag, properties=properties)

    def _demote_all_but(self, promoted: Image) -> None:
        for image in self._ours():
            if image.id == promoted.id or image.status != "active":
                continue
            if self.old.tag in image.tags:
                self._mark(image, tag=False)
            elif image.property("retrofit_promoted_at") and not image.hidden:
                self.world.change(image.id, hidden=True)
