"""What promotion, demotion and retirement do to each image, against a Glance in memory.

What they do while others act at the same time is tried in tests/model.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from retrofit.cloud.octavia_errors import OctaviaError
from retrofit.config import OctaviaSettings, PublishSettings, Target
from retrofit.errors import CloudError, PublishError
from retrofit.model import Image, Usage
from retrofit.observe import target as target_of_observation
from retrofit.plan import Identity
from retrofit.plan.companions import EVIDENCE_OF, identity_of_companion
from retrofit.plan.identity import IMAGE_ID
from retrofit.plan.image_state import DEMOTED_AT, OLD_REJECTED_AT, PROMOTED_AT, REJECTED_AT
from retrofit.publish.rotate import (
    demote_others,
    promote,
    reject,
    require_octavia_selects,
    retire,
)
from retrofit.runs.report import RunReport
from tests.model.memory_glance import MemoryGlance
from tests.model.world import World
from tests.unit.images import OWN

TAG = "octavia-amphora"
TARGET = Target(
    publish=PublishSettings(keep=1, retire_after=0, retire_after_unknown=0),
    octavia=OctaviaSettings(query="never"),
)
MARKS = {PROMOTED_AT: "2026-10-01T00:00:00+00:00"}
OVER = {
    **MARKS,
    DEMOTED_AT: "2026-10-02T00:00:00+00:00",
    REJECTED_AT: "2026-10-02T00:00:00+00:00",
    OLD_REJECTED_AT: "2026-10-02T00:00:00+00:00",
}


class Scene:
    """A world with images of the target, in the order of their creation."""

    def __init__(self) -> None:
        self.world = World()
        self.glance = MemoryGlance(self.world)
        self.report = RunReport(run_id="run", target="default", log_dir=Path("/nowhere"))

    def image(
        self, name: str, *, tagged: bool = False, target: str = "default", **fields: Any
    ) -> Image:
        identity = Identity(project_id=fields.get("owner", OWN), target=target, tag=TAG)
        properties = {**identity.properties_of(name), **fields.pop("properties", {})}
        self.world.pass_time(minutes=1)
        made = self.world.add(
            name.encode(),
            id=name,
            tags=frozenset({TAG} if tagged else ()),
            **fields,
        )
        whole = {"retrofit_image_hash": f"sha512:{made.hash_value}", **properties}
        self.world.change(name, properties=whole)
        return self.world.images[name]

    def now(self, name: str) -> Image:
        return self.world.images[name]

    def demote(self, promoted: str | None, *, known: Iterable[str] = ("old", "new")) -> None:
        demote_others(
            TARGET, self.glance, self.report, promoted=promoted, known_ids=frozenset(known)
        )


@pytest.fixture
def scene() -> Scene:
    return Scene()


def is_recent(text: str | None, world: World) -> bool:
    """Return True for a mark of now by Glance's clock, which is weeks behind this machine's."""
    assert text is not None
    moment = datetime.fromisoformat(text)
    assert text == moment.isoformat(timespec="seconds")
    assert moment.tzinfo is not None
    return abs(world.now - moment) < timedelta(minutes=1)


class TestPromote:
    def test_tags_shows_and_marks_an_image(self, scene: Scene) -> None:
        image = scene.image("new", hidden=True, properties=OVER)
        with capture_logs() as events:
            promote(TARGET, scene.glance, scene.report, image)
        after = scene.now("new")
        assert (after.tags, after.hidden) == ({TAG}, False)
        assert is_recent(after.property(PROMOTED_AT), scene.world)
        gone = (DEMOTED_AT, REJECTED_AT, OLD_REJECTED_AT)
        assert [after.property(name) for name in gone] == [None] * 3
        assert scene.report.promoted == ["new"]
        assert scene.report.image_id == "new"
        assert scene.report.image_created_at == image.created_at
        assert events == [
            {"event": "image promoted", "log_level": "info", "image_id": "new", "name": "new"}
        ]

    def test_leaves_a_visible_image_as_it_is(self, scene: Scene) -> None:
        changes: list[str] = []
        scene.image("new")
        glance = MemoryGlance(scene.world, checker=lambda what, *_: changes.append(what))
        promote(TARGET, glance, scene.report, scene.now("new"))
        assert changes == ["look at", "tag", "update"]

    @pytest.mark.parametrize(
        ("changed", "state"),
        [({"status": "deactivated"}, '"deactivated", 3 bytes'), ({"size": 0}, '"active", 0 bytes')],
    )
    def test_refuses_an_image_that_changed(
        self, scene: Scene, changed: dict[str, Any], state: str
    ) -> None:
        image = scene.image("new")
        scene.world.change("new", **changed)
        with pytest.raises(PublishError) as caught:
            promote(TARGET, scene.glance, scene.report, image)
        assert caught.value.message == (
            f"cannot promote new: image is {state}, expected what was built and verified"
        )
        assert caught.value.hint == (
            "somebody changed it after its upload; run again to build a new one"
        )
        assert scene.now("new").tags == frozenset()
        assert scene.report.promoted == []

    def test_refuses_an_image_that_is_gone(self, scene: Scene) -> None:
        image = scene.image("new")
        del scene.world.images["new"]
        with pytest.raises(PublishError, match="cannot promote new: image is gone, expected what"):
            promote(TARGET, scene.glance, scene.report, image)


def test_a_rejection_is_written_under_both_names(scene: Scene) -> None:
    reject(scene.glance, scene.report, scene.image("old"))
    after = scene.now("old")
    assert is_recent(after.property(REJECTED_AT), scene.world)
    assert after.property(OLD_REJECTED_AT) == after.property(REJECTED_AT)


class TestDemoteOthers:
    def test_every_other_image_loses_the_tag_and_is_hidden(self, scene: Scene) -> None:
        scene.image("old", tagged=True, properties=MARKS)
        scene.image("elsewhere", tagged=True, target="other")
        scene.image("new", tagged=True, properties=MARKS)
        with capture_logs() as events:
            scene.demote("new")
        old = scene.now("old")
        assert (old.tags, old.hidden) == (frozenset(), True)
        assert is_recent(old.property(DEMOTED_AT), scene.world)
        assert (scene.now("new").tags, scene.now("elsewhere").tags) == ({TAG}, {TAG})
        assert scene.now("new").property(PROMOTED_AT) == MARKS[PROMOTED_AT]
        assert (scene.report.demoted, scene.report.promoted) == (["old"], [])
        assert events == [
            {"event": "image demoted", "log_level": "info", "image_id": "old", "name": "old"}
        ]

    @pytest.mark.parametrize(
        ("tags", "left"), [({TAG}, set()), ({TAG, "theirs"}, {TAG, "theirs"}), ({"mine"}, {"mine"})]
    )
    def test_evidence_that_another_hand_tagged_and_showed_is_no_image(
        self, scene: Scene, tags: set[str], left: set[str]
    ) -> None:
        """Octavia would select it; with the tag of somebody else it is theirs as well."""
        scene.image("new", tagged=True, properties=MARKS)
        record = {
            EVIDENCE_OF: "new",
            IMAGE_ID: "evidence",
            **identity_of_companion(TARGET, OWN),
        }
        scene.world.add(b"packages", id="evidence", tags=frozenset(tags), properties=record)
        scene.demote("new", known=("new", "evidence"))
        after = scene.now("evidence")
        assert (after.tags, after.hidden) == (left, not left)
        assert after.property(DEMOTED_AT) is None

    def test_the_mark_comes_before_the_tag_goes(self, scene: Scene) -> None:
        changes: list[tuple[str, str]] = []
        scene.image("old", tagged=True, properties=MARKS)
        scene.image("new", tagged=True, properties=MARKS)

        def noted(what: str, before: Image | None, after: Image | None) -> None:
            assert after is not None
            changes.append((what, after.id))

        scene.glance = MemoryGlance(scene.world, checker=noted)
        scene.demote("new")
        assert changes == [("update", "old"), ("untag", "old"), ("update", "old")]

    def test_nothing_is_demoted_unless_the_promoted_image_is_seen(self, scene: Scene) -> None:
        scene.image("old", tagged=True, properties=MARKS)
        scene.image("new", properties=MARKS)
        for promoted in ("new", "never-there", None):
            scene.demote(promoted)
        assert scene.now("old").tags == {TAG}
        assert scene.report.demoted == []

    def test_nothing_is_demoted_for_an_image_that_a_person_rejected_meanwhile(
        self, scene: Scene
    ) -> None:
        scene.image("old", tagged=True, properties=MARKS)
        scene.image("new", tagged=True, properties=OVER)
        scene.demote("new")
        assert (scene.now("old").tags, scene.report.demoted) == ({TAG}, [])

    def test_marks_that_a_dead_run_did_not_write_are_written(self, scene: Scene) -> None:
        for properties in ({}, {**MARKS, DEMOTED_AT: OVER[DEMOTED_AT]}):
            scene.image("new", tagged=True, properties=properties)
            scene.demote("new")
            assert is_recent(scene.now("new").property(PROMOTED_AT), scene.world)
            assert scene.now("new").property(DEMOTED_AT) is None

    def test_a_newer_image_that_nobody_knew_of_keeps_the_tag(self, scene: Scene) -> None:
        scene.image("new", tagged=True, properties=MARKS)
        scene.image("of-another-machine", tagged=True, properties=MARKS)
        scene.demote("new")
        assert scene.now("of-another-machine").tags == {TAG}
        scene.demote("new", known=("of-another-machine",))
        assert scene.now("of-another-machine").tags == frozenset()

    def test_an_image_that_lost_its_tag_to_others_is_marked_as_rejected(self, scene: Scene) -> None:
        scene.image("old", properties=MARKS)
        scene.image("new", tagged=True, properties=MARKS)
        scene.demote("new")
        old = scene.now("old")
        assert is_recent(old.property(REJECTED_AT), scene.world)
        assert old.hidden
        assert scene.report.demoted == []

    def test_images_that_others_delete_meanwhile_stop_nothing(self, scene: Scene) -> None:
        scene.image("untagged", properties=MARKS)
        scene.image("old", tagged=True, properties=MARKS)
        scene.image("new", tagged=True, properties=MARKS)
        listed = 6

        def delete(number: int) -> None:
            if number == listed:
                del scene.world.images["old"], scene.world.images["untagged"]

        scene.glance = MemoryGlance(scene.world, others=delete)
        scene.demote("new", known=("untagged", "old", "new"))
        assert set(scene.world.images) == {"new"}
        assert scene.report.demoted == []

    def test_an_image_of_the_charm_is_demoted_without_a_mark(self, scene: Scene) -> None:
        charm = frozenset({TAG, "octavia-diskimage-retrofit"})
        properties = {
            "source_product_name": "com.ubuntu.cloud:server:24.04:amd64",
            "source_version_name": "20260901",
        }
        scene.world.add(b"charm", id="charm", tags=charm, properties=properties)
        scene.image("new", tagged=True, properties=MARKS)
        rules = TARGET.publish.model_copy(update={"replace_charm_images": True})
        target = TARGET.model_copy(update={"publish": rules})
        demote_others(
            target,
            scene.glance,
            scene.report,
            promoted="new",
            known_ids={"charm", "new"},
        )
        assert scene.now("charm").tags == charm - {TAG}
        assert scene.now("charm").properties == properties
        assert scene.report.demoted == ["charm"]


class TestPromotedAgain:
    """Others took the promoted image's tag away while this run demoted the one before."""

    def lose(self, scene: Scene, *, at: int, **marks: str) -> None:
        def others(number: int) -> None:
            if number == at:
                image = scene.now("new")
                properties = {**image.properties, **marks}
                scene.world.change("new", tags=frozenset(), properties=properties)

        scene.glance = MemoryGlance(scene.world, others=others)

    def test_what_they_demoted_has_its_tag_again(self, scene: Scene) -> None:
        scene.image("old", tagged=True, properties=MARKS)
        scene.image("new", tagged=True, properties=MARKS)
        self.lose(scene, at=7, **{DEMOTED_AT: OVER[DEMOTED_AT]})
        with pytest.raises(PublishError) as caught:
            scene.demote("new")
        assert caught.value.message == (
            "Octavia found no image: new was demoted or removed while the others were demoted;"
            " new has its tag again"
        )
        assert caught.value.hint == (
            "other tools that manage images have to leave these alone;"
            " machines that run the same target need the same lock.url"
        )
        assert (scene.now("new").tags, scene.now("old").tags) == ({TAG}, frozenset())
        assert scene.report.promoted == ["new"]

    def test_what_a_person_took_away_is_left_and_the_one_before_returns(self, scene: Scene) -> None:
        scene.image("old", tagged=True, properties=MARKS)
        scene.image("new", tagged=True, properties=MARKS)
        self.lose(scene, at=7)
        with pytest.raises(PublishError, match="old has its tag again"):
            scene.demote("new")
        assert (scene.now("new").tags, scene.now("old").tags) == (frozenset(), {TAG})
        assert not scene.now("old").hidden

    def test_an_image_of_another_project_is_none_of_ours(self, scene: Scene) -> None:
        scene.image("old", tagged=True, properties=MARKS)
        scene.image("new", tagged=True, properties=MARKS)
        scene.image("theirs", tagged=True, owner="tenant", target="other")
        self.lose(scene, at=7, **{DEMOTED_AT: OVER[DEMOTED_AT]})
        with pytest.raises(PublishError, match="new has its tag again"):
            scene.demote("new")

    def test_nothing_is_promoted_where_persons_rejected_all(self, scene: Scene) -> None:
        scene.image("old", tagged=True, properties=OVER)
        scene.image("new", tagged=True, properties=MARKS)
        self.lose(scene, at=7)
        scene.demote("new")
        assert scene.report.promoted == []
        assert {image.tags for image in scene.world.images.values()} == {frozenset()}

    def test_an_image_with_other_bytes_is_not_promoted(self, scene: Scene) -> None:
        scene.image("old", tagged=True, properties=MARKS)
        scene.image("new", tagged=True, properties=MARKS)
        self.lose(scene, at=7, **{DEMOTED_AT: OVER[DEMOTED_AT], "retrofit_image_hash": "sha512:x"})
        with pytest.raises(PublishError, match="old has its tag again"):
            scene.demote("new")

    def test_before_a_retirement_as_well(self, scene: Scene) -> None:
        scene.image("old", hidden=True, properties={**MARKS, DEMOTED_AT: OVER[DEMOTED_AT]})
        scene.image("new", properties={**MARKS, DEMOTED_AT: OVER[DEMOTED_AT]})
        retire(TARGET, scene.glance, scene.report, promoted="new")
        assert scene.report.promoted == []
        scene.report.demoted.append("old")
        with pytest.raises(PublishError, match="new has its tag again"):
            retire(TARGET, scene.glance, scene.report, promoted="new")
        assert set(scene.world.images) == {"old", "new"}


class TestRetire:
    def test_deletes_what_retention_lets_go(self, scene: Scene) -> None:
        over = {**MARKS, DEMOTED_AT: OVER[DEMOTED_AT]}
        for name in ("oldest", "older"):
            scene.image(name, hidden=True, properties=over)
        scene.image("new", tagged=True, properties=MARKS)
        with capture_logs() as events:
            retire(TARGET, scene.glance, scene.report, promoted="new")
        assert set(scene.world.images) == {"new"}
        assert sorted(scene.report.retired) == ["older", "oldest"]
        assert [(event["event"], event["log_level"]) for event in events] == [
            ("image retired", "info")
        ] * 2
        assert sorted(event["image_id"] for event in events) == ["older", "oldest"]
        assert all(event["name"] == event["image_id"] for event in events)

    def test_what_cannot_be_deleted_is_noted(self, scene: Scene) -> None:
        over = {**MARKS, DEMOTED_AT: OVER[DEMOTED_AT]}
        scene.image("cloned", hidden=True, properties=over)
        scene.image("protected", hidden=True, protected=True, properties=over)
        scene.image("new", tagged=True, properties=MARKS)
        scene.world.in_use_in_store.add("cloned")
        retire(TARGET, scene.glance, scene.report, promoted="new")
        assert set(scene.world.images) == {"cloned", "protected", "new"}
        assert sorted(scene.report.notes) == [
            "image cloned could not be deleted (in use): later",
            "image protected is protected: kept",
        ]
        assert scene.report.retired == []

    def test_what_octavia_may_run_on_stays_where_it_is_not_asked(self, scene: Scene) -> None:
        scene.image("old", hidden=True, properties={**MARKS, DEMOTED_AT: OVER[DEMOTED_AT]})
        scene.image("new", tagged=True, properties=MARKS)
        rules = TARGET.publish.model_copy(update={"retire_after_unknown": 24 * 365 * 10})
        target = TARGET.model_copy(update={"publish": rules})
        retire(target, scene.glance, scene.report, promoted="new")
        assert set(scene.world.images) == {"old", "new"}
        assert "publish.retire_after_unknown" in scene.report.notes[0]

    def test_what_others_deleted_meanwhile_is_retired(self, scene: Scene) -> None:
        scene.image("old", hidden=True, properties={**MARKS, DEMOTED_AT: OVER[DEMOTED_AT]})
        scene.image("new", tagged=True, properties=MARKS)
        before_the_deletion = 6

        def delete(number: int) -> None:
            if number == before_the_deletion:
                scene.world.images.pop("old")

        glance = MemoryGlance(scene.world, others=delete)
        retire(TARGET, glance, scene.report, promoted="new")
        assert scene.report.retired == ["old"]

    def test_nothing_is_deleted_unless_the_promoted_image_is_seen(self, scene: Scene) -> None:
        scene.image("old", hidden=True, properties={**MARKS, DEMOTED_AT: OVER[DEMOTED_AT]})
        scene.image("new", properties=MARKS)
        retire(TARGET, scene.glance, scene.report, promoted="new")
        assert set(scene.world.images) == {"old", "new"}


class TestOctaviaSelects:
    def require(self, scene: Scene, image: str = "new") -> None:
        require_octavia_selects(TARGET, scene.glance, scene.report, scene.now(image))

    def refusal(self, scene: Scene, image: str = "new") -> tuple[str, str | None]:
        with pytest.raises(PublishError) as caught:
            self.require(scene, image)
        return caught.value.message, caught.value.hint

    def test_the_promoted_image(self, scene: Scene) -> None:
        scene.image("old", tagged=True)
        scene.image("new", tagged=True)
        self.require(scene)
        assert scene.report.notes == []

    def test_none_since_its_tag_was_removed(self, scene: Scene) -> None:
        scene.image("new")
        assert self.refusal(scene) == (
            "Octavia would select image none, not new",
            "somebody hid new, or removed its tag or its data: run again",
        )

    def test_an_older_one_since_its_tag_was_removed(self, scene: Scene) -> None:
        scene.image("old", tagged=True)
        scene.image("new")
        assert self.refusal(scene) == (
            "Octavia would select image old, not new",
            "somebody hid new, or removed its tag or its data: run again",
        )

    def test_a_newer_one_of_another_machine(self, scene: Scene) -> None:
        scene.image("new", tagged=True)
        scene.image("newer", tagged=True)
        assert self.refusal(scene) == (
            "Octavia would select image newer, not new",
            "another machine promoted it meanwhile: machines that run the same target need the"
            " same lock.url",
        )

    def test_a_newer_one_that_is_not_of_the_target(self, scene: Scene) -> None:
        scene.image("new", tagged=True)
        scene.image("newer", tagged=True, target="other")
        assert self.refusal(scene) == (
            "Octavia would select image newer, not new",
            "another image of this project carries the tag octavia-amphora and was created later:"
            " remove its tag",
        )

    def test_another_projects_without_amp_image_owner_id(self, scene: Scene) -> None:
        scene.image("new", tagged=True)
        scene.image("theirs", tagged=True, owner="tenant")
        self.require(scene)
        assert scene.report.notes == [
            "without amp_image_owner_id Octavia selects image theirs of project tenant: set"
            f" amp_image_owner_id = {OWN} in octavia.conf"
        ]


class TestWithoutAnAnswerOfOctavia:
    """Octavia is down, and `octavia.query = "require"`."""

    @pytest.fixture(autouse=True)
    def octavia_is_down(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def usage(_target: Target) -> Usage:
            raise OctaviaError("list amphorae", "Octavia cannot be reached", hint="wait")

        monkeypatch.setattr(target_of_observation, "usage", usage)

    def retire(self, scene: Scene, **options: Any) -> None:
        scene.image("old", properties={**MARKS, DEMOTED_AT: "2026-10-02T00:00:00+00:00"})
        scene.image("new", tagged=True, properties=MARKS)
        target = TARGET.model_copy(update={"octavia": OctaviaSettings(query="require")})
        retire(target, scene.glance, scene.report, promoted="new", **options)

    def test_a_run_deletes_nothing_and_reports_it(self, scene: Scene) -> None:
        self.retire(scene)
        assert set(scene.world.images) == {"old", "new"}
        assert scene.report.notes == [
            'image old stays until Octavia answers (octavia.query = "require"):'
            " Octavia cannot be reached"
        ]

    def test_the_command_fails(self, scene: Scene) -> None:
        with pytest.raises(CloudError, match="Octavia cannot be reached"):
            self.retire(scene, strict=True)
        assert set(scene.world.images) == {"old", "new"}


def test_a_run_never_takes_a_rejection_back(scene: Scene) -> None:
    # A rollback died half way, and the image that it went back to is gone.
    rejected = {REJECTED_AT: OVER[REJECTED_AT], OLD_REJECTED_AT: OVER[OLD_REJECTED_AT]}
    scene.image("new", tagged=True, properties={**MARKS, **rejected})
    scene.demote("new")
    after = scene.now("new")
    assert (after.tags, after.property(REJECTED_AT)) == ({TAG}, OVER[REJECTED_AT])
