"""The bytes of amphora images are read: a store may lose them behind Glance's back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from retrofit.cloud import Glance
from retrofit.config import PublishSettings, Target
from retrofit.errors import PublishError
from retrofit.model import Image
from retrofit.observe.presence import observe_bytes
from retrofit.plan import image_state
from retrofit.plan.image_state import DAMAGED_AT, ImageState
from retrofit.plan.inventory import Inventory
from retrofit.plan.presence import ENDS, READ_AT, Presence, with_presence
from retrofit.publish.rotate import promote
from retrofit.runs.report import RunReport
from retrofit.system.digests import END, digest_of_ends, ends_of
from tests.model.memory_glance import MemoryGlance
from tests.model.world import World
from tests.unit.images import OWN

TAG = "octavia-amphora"
CONTENT = b"an amphora"


class Scene:
    def __init__(self, **properties: str) -> None:
        self.world = World()
        made = self.world.add(CONTENT, tags=frozenset({TAG}))
        self.id = made.id
        known = {
            "retrofit_target": "default",
            "retrofit_image_hash": f"sha512:{made.hash_value}",
            ENDS: digest_of_ends(CONTENT, CONTENT),
            READ_AT: self.world.now.isoformat(),
            **properties,
        }
        self.set({key: value for key, value in known.items() if value})
        self.glance = cast("Glance", MemoryGlance(self.world))

    def set(self, properties: dict[str, str]) -> None:
        self.world.change(self.id, properties=properties)

    @property
    def image(self) -> Image:
        return self.world.images[self.id]

    def observe(self, *, reread: Any = 168, may_read_whole: bool = True) -> Presence:
        target = Target(publish=PublishSettings(reread=reread))
        return observe_bytes(
            self.image, target, self.glance, self.world.now, may_read_whole=may_read_whole
        )

    def state_after(self, presence: Presence) -> ImageState:
        inventory = Inventory(images=(self.image,), own_project=OWN, now=self.world.now)
        return image_state(with_presence(inventory, presence).images[0], Target())


def test_bytes_that_are_there_change_nothing() -> None:
    assert Scene().observe() == Presence(image_id=Scene().id)


@pytest.mark.parametrize("content", [b"", b"other"], ids=["gone", "others"])
def test_lost_bytes_make_a_promoted_image_damaged(content: bytes) -> None:
    scene = Scene()
    scene.world.content[scene.id] = content
    found = scene.observe()
    assert "are not those that were verified" in str(found.damage)
    assert scene.state_after(found) is ImageState.DAMAGED
    # Each later run finds it as well, and writes nothing new.
    scene.set({**scene.image.properties, **{k: str(v) for k, v in found.changes.items()}})
    again = scene.observe()
    assert (again.damage is None, again.changes) == (False, {})


def test_bytes_that_come_back_are_read_whole_before_they_count() -> None:
    scene = Scene(**{DAMAGED_AT: "2026-11-01T00:00:00+00:00"})
    found = scene.observe(reread="never")
    assert found.changes[DAMAGED_AT] is None
    assert scene.state_after(found) is ImageState.PROMOTED


@pytest.mark.parametrize(
    ("read_ago", "reread", "is_read"),
    [
        (timedelta(hours=167), 168, False),
        (timedelta(hours=168), 168, True),
        (timedelta(days=9000), "never", False),
        (None, 168, True),
    ],
)
def test_all_bytes_are_read_at_the_interval(
    read_ago: timedelta | None, reread: Any, is_read: bool
) -> None:
    scene = Scene()
    read_at = "" if read_ago is None else (scene.world.now - read_ago).isoformat()
    scene.set({**scene.image.properties, READ_AT: read_at})
    # The middle is lost: only a whole reading finds it.
    whole = b"1" * END + CONTENT + b"2" * END
    scene.world.content[scene.id] = whole
    scene.set({**scene.image.properties, ENDS: digest_of_ends(whole, whole)})
    assert (scene.observe(reread=reread).damage is not None) is is_read
    assert scene.observe(reread=reread, may_read_whole=False).damage is None


def test_an_image_of_0_1_0_gets_the_digest_of_its_blocks() -> None:
    scene = Scene(**{ENDS: "", READ_AT: ""})
    assert scene.observe().changes == {
        READ_AT: scene.world.now.isoformat(timespec="seconds"),
        ENDS: digest_of_ends(CONTENT, CONTENT),
    }


def test_no_image_is_promoted_of_which_the_store_lost_the_bytes() -> None:
    scene = Scene()
    scene.world.change(scene.id, tags=frozenset())
    scene.world.content[scene.id] = b""
    report = RunReport(run_id="run", target="default", log_dir=Path("/nowhere"))
    with pytest.raises(PublishError, match="are not those that were verified"):
        promote(Target(), scene.glance, report, scene.image)
    assert (scene.image.tags, bool(scene.image.property(DAMAGED_AT))) == (frozenset(), True)


@pytest.mark.parametrize("size", [1, END, END + 1, 3 * END])
def test_the_ends_of_a_file_are_those_of_the_image(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "image").write_bytes(content[:size])
    known = digest_of_ends(content[:size][:END], content[:size][-END:])
    assert ends_of(tmp_path / "image") == known
