from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from retrofit.config import PathSettings, Settings, Target
from retrofit.errors import ConfigError
from retrofit.model import Image
from retrofit.operations import pause as pause_operation
from retrofit.operations.pause import new_pause, remove_pause, write_pause
from retrofit.plan import Inventory, Pause, in_force, pauses_on
from retrofit.plan.pause import PROPERTY
from retrofit.runs import store
from retrofit.runs.pauses import pause_of, standing_pause
from tests.model.memory_glance import MemoryGlance
from tests.model.world import World
from tests.unit.images import NOW, OWN, amphora

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
    assert pause().phrase() == (
        "paused until further notice by op@host since 2026-11-22 12:00 UTC: upgrade"
    )
    assert pause().phrase("noble") == (
        "paused until `retrofit --target noble resume` by op@host since 2026-11-22 12:00 UTC:"
        " upgrade"
    )
    assert pause(1).phrase() == (
        "paused until 2026-11-22 13:00 UTC by op@host since 2026-11-22 12:00 UTC: upgrade"
    )


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
    assert found.since == datetime(1970, 1, 1, tzinfo=UTC)
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

    def test_goes_onto_every_image_and_replaces_any_other(self, tmp_path: Path) -> None:
        world, glance = self.world(
            amphora(1, tagged=True),
            amphora(2, properties={PROPERTY: json.dumps(pause().as_dict())}),
        )
        assert self.write(world, glance, tmp_path, pause(2))
        assert world.images["amphora-0001"].property(PROPERTY)
        assert world.images["amphora-0002"].property(PROPERTY) == json.dumps(pause(2).as_dict())
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

    def test_a_renamed_target_is_still_paused_by_a_local_record(self, tmp_path: Path) -> None:
        world, glance = self.world()
        self.write(world, glance, tmp_path, pause())
        renamed = Target(name="noble", formerly=(TARGET.name,))
        assert pause_of(inventory(), renamed, tmp_path) == pause()
        remove_pause(glance, inventory(), renamed, tmp_path)
        assert pause_of(inventory(), renamed, tmp_path) is None

    def paused(self, where: Path) -> tuple[World, MemoryGlance]:
        world, glance = self.world(amphora(1, tagged=True), amphora(2))
        assert self.write(world, glance, where, pause())
        return world, glance

    def test_outlives_each_image_that_carries_it(self, tmp_path: Path) -> None:
        for number in ("amphora-0001", "amphora-0002"):
            world, _ = self.paused(tmp_path)
            del world.images[number]
            assert self.seen(world, tmp_path / "another machine") == pause()

    def test_is_kept_and_reported_when_all_images_that_carried_it_are_gone(
        self, tmp_path: Path
    ) -> None:
        world, _ = self.paused(tmp_path)
        world.images = {"amphora-0003": amphora(3)}
        standing = standing_pause(inventory(*world.images.values()), TARGET, tmp_path)
        assert (standing.pause, standing.lost) == (pause(), True)
        assert "`retrofit --target default resume` ends it" in standing.warnings("default")[0]

    def test_is_kept_when_another_installation_adopted_the_images(self, tmp_path: Path) -> None:
        world, _ = self.paused(tmp_path)
        for image in [*world.images.values()]:
            theirs = {**image.properties, "retrofit_installation": "another"}
            world.change(image.id, properties=theirs)
        assert self.seen(world, tmp_path) == pause()

    def test_ends_where_another_machine_ended_it(self, tmp_path: Path) -> None:
        world, glance = self.paused(tmp_path)
        images = inventory(*world.images.values())
        remove_pause(cast("Any", glance), images, TARGET, tmp_path / "another machine")
        assert self.seen(world, tmp_path) is None
        # Also where one of those that carried it is gone by then.
        del world.images["amphora-0001"]
        assert self.seen(world, tmp_path) is None

    def test_of_another_machine_replaces_the_one_kept_here(self, tmp_path: Path) -> None:
        world, glance = self.paused(tmp_path)
        self.write(world, glance, tmp_path / "another machine", pause(3))
        assert self.seen(world, tmp_path) == pause(3)  # and not the endless one

    def test_survives_a_state_directory_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "targets").write_text("a file is in the way")
        world, glance = self.world(amphora(1, tagged=True))
        assert self.write(world, glance, tmp_path, pause())
        assert self.seen(world, tmp_path) == pause()

    def test_says_where_it_cannot_be_kept(self, tmp_path: Path) -> None:
        (tmp_path / "targets").write_text("a file is in the way")
        world, glance = self.world()
        with pytest.raises(ConfigError, match="cannot write") as refused:
            self.write(world, glance, tmp_path, pause())
        assert refused.value.hint

    def test_a_local_record_of_another_version_is_as_good_as_none(self, tmp_path: Path) -> None:
        world, glance = self.world()
        self.write(world, glance, tmp_path, pause())
        (path,) = store.directory_of(tmp_path, "default").iterdir()
        path.write_text('{"version": 99, "reason": "x"}')
        assert self.seen(world, tmp_path) is None

    def test_names_who_ordered_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SUDO_USER", "alice")
        ordered = new_pause("upgrade", NOW)
        assert ordered.by.startswith("alice@")
        assert (ordered.reason, ordered.until) == ("upgrade", NOW)

    def test_an_end_that_has_passed_by_glances_clock_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world, glance = self.world(amphora(1, tagged=True))
        read = (glance, inventory(*world.images.values()))
        monkeypatch.setattr(pause_operation, "_read", lambda _target: read)
        monkeypatch.setattr(pause_operation, "claim_paths", lambda *_: None)
        paths = PathSettings(
            **{name: tmp_path / name for name in ("state", "logs", "cache", "work")}
        )
        until = NOW - timedelta(minutes=1)  # an hour from now, by a clock that is behind
        with pytest.raises(ConfigError, match="by Glance's clock it is 2026-11-22 12:00"):
            pause_operation.pause(
                (TARGET,),
                Settings(targets=(TARGET,), paths=paths),
                reason="upgrade",
                until=until,
            )
        assert world.images["amphora-0001"].property(PROPERTY) is None
