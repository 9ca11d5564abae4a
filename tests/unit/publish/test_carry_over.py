"""Images of former names get the present ones, and at no moment Octavia finds nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from retrofit.cloud import Glance
from retrofit.config import PublishSettings, Target
from retrofit.errors import ConfigError
from retrofit.model import Image
from retrofit.observe.target import take_inventory
from retrofit.plan import Identity, image_state, promoted_image
from retrofit.plan.companions import EVIDENCE_ID, EVIDENCE_OF, identity_of_companion
from retrofit.publish.carry_over import carry_over
from retrofit.publish.rotate import demote_others, promote, require_octavia_selects
from retrofit.runs.report import RunReport
from tests.model.memory_glance import Fault, KilledError, MemoryGlance
from tests.model.world import World
from tests.unit.images import OWN

OLD, NEW = "octavia-amphora", "v2"
BEFORE = Target()
AFTER = Target(
    name="noble", formerly=("default",), publish=PublishSettings(tag=NEW, former_tags=(OLD,))
)
PAUSE = '{"reason": "an audit"}'


class Scene:
    """A world in which the target was called `default`, with another tag."""

    def __init__(self) -> None:
        self.world = World()
        self.report = RunReport(run_id="run", target="noble", log_dir=Path("/nowhere"))
        self.older = self.image("older", retrofit_demoted_at="2026-10-02T00:00:00+00:00")
        self.newer = self.image("newer", tags=frozenset({OLD}), retrofit_paused=PAUSE)

    def image(self, name: str, tags: frozenset[str] = frozenset(), **properties: str) -> str:
        self.world.pass_time(minutes=1)
        made = self.world.add(name.encode(), id=name, tags=tags)
        named = Identity.of(BEFORE, OWN).properties_of(name)
        marks = {"retrofit_promoted_at": "2026-10-01T00:00:00+00:00"}
        whole = {"retrofit_image_hash": f"sha512:{made.hash_value}"}
        self.world.change(name, properties={**named, **marks, **whole, **properties})
        return name

    def glance(self, **given: Any) -> Glance:
        return cast("Glance", MemoryGlance(self.world, **given))

    def selected(self, tag: str) -> str | None:
        return next((image.id for image in self.world.eligible(tag)), None)

    def now(self, name: str) -> Image:
        return self.world.images[name]

    def carry_over(self, glance: Glance, target: Target = AFTER) -> bool:
        return carry_over(take_inventory(target, glance), target, glance, self.report)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_promoted_image_gets_the_new_tag_and_keeps_the_old_one(scene: Scene) -> None:
    was = {name: image_state(scene.now(name), BEFORE) for name in scene.world.images}
    assert scene.carry_over(scene.glance())
    assert scene.now("newer").tags == {OLD, NEW}
    assert scene.now("older").tags == frozenset()
    for name, state in was.items():
        assert image_state(scene.now(name), AFTER) is state
        named = Identity.of(AFTER, OWN).properties_of(name)
        assert named.items() <= scene.now(name).properties.items()
    assert scene.now("newer").property("retrofit_paused") == PAUSE
    assert scene.report.adopted == ["newer", "older"]
    assert not scene.carry_over(scene.glance())


def test_wherever_it_dies_the_old_tag_finds_its_image_and_the_next_one_completes_it(
    scene: Scene,
) -> None:
    for call in range(40):
        scene = Scene()
        try:
            scene.carry_over(scene.glance(fault=Fault(at=call, kind="killed")))
        except KilledError:
            assert scene.selected(OLD) == "newer"
            assert scene.selected(NEW) in {None, "newer"}
            promoted = promoted_image(take_inventory(AFTER, scene.glance()), AFTER)
            assert promoted is not None
            assert promoted.id == "newer"
            scene.carry_over(scene.glance())
            assert scene.selected(NEW) == scene.selected(OLD) == "newer"
        else:
            assert call > 10
            return
    raise AssertionError("it never ends")


def test_while_one_replaces_the_other_both_tags_always_find_the_newest_or_the_one_before(
    scene: Scene,
) -> None:
    scene.carry_over(scene.glance())
    scene.world.pass_time(minutes=1)
    made = scene.world.add(b"next", id="next")
    named = Identity.of(AFTER, OWN).properties_of("next")
    whole = {"retrofit_image_hash": f"sha512:{made.hash_value}"}
    scene.world.change("next", properties={**named, **whole})
    seen: set[tuple[str | None, str | None]] = set()
    glance = scene.glance(others=lambda _: seen.add((scene.selected(OLD), scene.selected(NEW))))
    promote(AFTER, glance, scene.report, scene.now("next"))
    known = frozenset(scene.world.images)
    demote_others(AFTER, glance, scene.report, promoted="next", known_ids=known)
    require_octavia_selects(AFTER, glance, scene.report, scene.now("next"))
    assert {each for pair in seen for each in pair} == {"newer", "next"}
    assert scene.now("next").tags == {OLD, NEW}
    assert scene.now("newer").tags == frozenset()


def test_an_image_with_the_tag_of_others_keeps_all_its_tags(scene: Scene) -> None:
    scene.world.change("newer", tags=frozenset({OLD, "pinned"}))
    scene.carry_over(scene.glance())
    assert scene.now("newer").tags == {OLD, NEW, "pinned"}


def test_nothing_is_written_where_images_of_0_1_0_cannot_be_attributed(scene: Scene) -> None:
    for name, tag in (("mine", NEW), ("theirs", "staging")):
        made = scene.world.add(name.encode(), id=name, tags=frozenset({tag}))
        properties = {
            "retrofit_target": "noble",
            "retrofit_run_id": name,
            "retrofit_image_hash": f"sha512:{made.hash_value}",
            "retrofit_verified_at": scene.world.now.isoformat(),
        }
        scene.world.change(name, properties=properties)
    before = dict(scene.world.images)
    with pytest.raises(ConfigError, match="another installation may have made them") as caught:
        scene.carry_over(scene.glance())
    assert "adopt mine" in (caught.value.hint or "")
    assert scene.world.images == before


def test_evidence_goes_along_in_one_request(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.world.add(b"packages", id="evidence")
    named = identity_of_companion(BEFORE, OWN)
    itself = {"retrofit_image_id": "evidence", EVIDENCE_OF: "newer"}
    scene.world.change("evidence", properties={**named, **itself}, hidden=True)
    scene.world.change(
        "newer", properties={**scene.now("newer").properties, EVIDENCE_ID: "evidence"}
    )
    updated: list[str] = []
    update = MemoryGlance.update

    def counted(glance: MemoryGlance, image_id: str, changes: dict[str, Any]) -> None:
        updated.append(image_id)
        update(glance, image_id, changes)

    monkeypatch.setattr(MemoryGlance, "update", counted)
    assert scene.carry_over(scene.glance())
    assert updated == ["evidence", "newer", "older"]
