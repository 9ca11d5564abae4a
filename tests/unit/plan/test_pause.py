from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from retrofit import state
from retrofit.config import Target
from retrofit.errors import ConfigError
from retrofit.model import Image
from retrofit.pausing import order_by_me, pause_of, remove_pause, write_pause
from retrofit.plan import Inventory, Pause, in_force, pauses_on
from retrofit.plan.pause import PROPERTY
from tests.unit.images import NOW, OWN, amphora
from tests.unit.memory_glance import MemoryGlance
from tests.unit.world import World

TARGET = Target()


def pause(hours: float | None = None, *, reason: str = "upgrade") -> Pause:
    until = None if hours is None else NOW + timedelta(hours=hours)
    return Pause(reason=reason, since=NOW, by="op@host", until=until)


def carrying(text: str, **fields: Any) -> Image:
    return amphora(1, properties={PROPERTY: text}, **fields)


def inventory(*images: Image) -> Inventory:
    return Inventory(images=images, own_project=OWN, now=NOW)


def test_holds_until_its_end_and_without_one_for_ever() -> None:
    assert not pause(0).in_force(NOW)
    assert pause(1).in_force(NOW)
    assert pause().in_force(NOW + timedelta(days=10_000))
    assert "until `retrofit resume`" in pause().phrase()
    assert "until 2026-11-22 13:00 UTC by op@host" in pause(1).phrase()


def test_of_several_the_one_that_holds_longest_counts() -> None:
    assert in_force([pause(1), pause(3), pause(2)], NOW) == pause(3)
    assert in_force([pause(3), pause(), pause(2)], NOW) == pause()
    assert in_force([pause(-1), pause(0)], NOW) is None
    assert in_force([], NOW) is None


def test_survives_being_written_and_read() -> None:
    for made in (pause(), pause(1)):
        assert Pause.from_dict(json.loads(json.dumps(made.as_dict()))) == made


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "yes",
        "[]",
        "7",
        "null",
        "{}",
        '{"until": "some day"}',
        '{"until": 7, "since": []}',
        '{"reason": null, "until": null}',
    ],
)
def test_one_on_an_image_that_nobody_can_read_holds(text: str) -> None:
    (found,) = pauses_on([carrying(text)])
    assert in_force([found], NOW) == found
    assert (found.reason, found.by) == ("no reason was given", "somebody")
    assert found.phrase()


def test_an_image_without_one_has_none() -> None:
    assert pauses_on([amphora(1), carrying("")]) == []


def test_one_that_somebody_elses_image_carries_pauses_nothing(tmp_path: Path) -> None:
    text = json.dumps(pause().as_dict())
    for image in (carrying(text, owner="tenant"), carrying(text, target="other")):
        assert pause_of(inventory(image), TARGET, tmp_path) is None
    assert pause_of(inventory(carrying(text)), TARGET, tmp_path) == pause()


class TestWriting:
    def world(self, *images: Image) -> tuple[World, MemoryGlance]:
        world = World()
        world.now = NOW
        world.images = {image.id: image for image in images}
        return world, MemoryGlance(world)

    def seen(self, world: World, state_dir: Path) -> Pause | None:
        return pause_of(inventory(*world.images.values()), TARGET, state_dir)

    def write(self, world: World, glance: Any, where: Path, ordered: Pause) -> bool:
        return write_pause(glance, inventory(*world.images.values()), TARGET, where, ordered)

    def test_goes_onto_the_promoted_image_and_replaces_any_other(self, tmp_path: Path) -> None:
        world, glance = self.world(
            amphora(1, tagged=True),
            amphora(2, properties={PROPERTY: json.dumps(pause().as_dict())}),
        )
        assert self.write(world, glance, tmp_path, pause(2))
        assert world.images["amphora-0001"].property(PROPERTY)
        assert world.images["amphora-0002"].property(PROPERTY) is None
        assert self.seen(world, tmp_path) == pause(2)
        remove_pause(glance, inventory(*world.images.values()), TARGET, tmp_path)
        assert self.seen(world, tmp_path) is None

    def test_without_any_image_is_kept_here_and_moves_to_the_first_one(
        self, tmp_path: Path
    ) -> None:
        world, glance = self.world(amphora(1, target="other", tagged=True))
        assert not self.write(world, glance, tmp_path, pause())
        assert self.seen(world, tmp_path) == pause()
        world.images["amphora-0002"] = amphora(2)
        assert self.write(world, glance, tmp_path, pause(1))
        assert self.seen(world, tmp_path) == pause(1)  # and not the endless one kept here
        remove_pause(glance, inventory(*world.images.values()), TARGET, tmp_path)
        assert self.seen(world, tmp_path) is None

    def test_says_where_it_cannot_be_kept(self, tmp_path: Path) -> None:
        (tmp_path / "targets").write_text("a file is in the way")
        world, glance = self.world()
        with pytest.raises(ConfigError, match="cannot write") as refused:
            self.write(world, glance, tmp_path, pause())
        assert refused.value.hint

    def test_a_local_record_of_another_version_is_as_good_as_none(self, tmp_path: Path) -> None:
        world, glance = self.world()
        self.write(world, glance, tmp_path, pause())
        (path,) = state.directory_of(tmp_path, "default").iterdir()
        path.write_text('{"version": 99, "reason": "x"}')
        assert self.seen(world, tmp_path) is None

    def test_names_who_ordered_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SUDO_USER", "alice")
        ordered = order_by_me("upgrade", NOW)
        assert ordered.by.startswith("alice@")
        assert (ordered.reason, ordered.until) == ("upgrade", NOW)
