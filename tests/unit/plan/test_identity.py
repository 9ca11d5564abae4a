"""Whose an image is: proven by what its record names, and nothing else is ever ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from retrofit.cloud import Glance
from retrofit.config import PublishSettings, SourceSettings, Target
from retrofit.model import Image, Usage
from retrofit.observe.target import take_inventory
from retrofit.plan import Identity, Inventory, Machine, ids, warnings
from retrofit.plan.carry_over import ambiguity, carry_overs
from retrofit.plan.decision import decide
from retrofit.plan.identity import IMAGE_ID, STATE_ID, Basis, installation_id, whose
from retrofit.plan.inventory import leftovers, promoted_image
from retrofit.plan.neighbours import other_installations_in_project
from retrofit.plan.rotation import rotate
from retrofit.source.choose import choose_source
from tests.model.memory_glance import MemoryGlance
from tests.model.world import World
from tests.unit.images import NOW, OWN, amphora, synced

TAG, STAGING = "octavia-amphora", "octavia-amphora-staging"
RULES = PublishSettings(keep=1, retire_after=0, retire_after_unknown=0)
TARGET = Target(publish=RULES)
REJECTED = {"retrofit_rejected_at": "2026-11-02T00:00:00+00:00"}
RENAMED_TAG = Target(publish=RULES.model_copy(update={"tag": "v2", "former_tags": (TAG,)}))
RENAMED = Target(name="noble", formerly=("default",), publish=RULES)
OF_0_1: dict[str, Any] = {
    "retrofit_image_id": None,
    "retrofit_installation": None,
    "retrofit_tag": None,
    "retrofit_state_id": None,
    "retrofit_verified_at": NOW.isoformat(),
}
ALONE = Machine(state_id="this-state", lock_shared=False)


def inventory(*images: Image, machine: Machine | None = None) -> Inventory:
    return Inventory(images=images, own_project=OWN, now=NOW, machine=machine or Machine())


def old(number: int, **fields: Any) -> Image:
    """An image as 0.1.0 left it."""
    properties = {**OF_0_1, **fields.pop("properties", {})}
    return amphora(number, properties=properties, **fields)


def basis(image: Image, *others: Image, target: Target = TARGET) -> Basis:
    return whose(image, Identity.of(target, OWN), (image, *others)).basis


def copied(image: Image, number: int, **fields: Any) -> Image:
    """A record with all properties of another, and its bytes: `image save` and `image create`."""
    created_at = NOW - timedelta(hours=1000 - number)
    copy = replace(image, id=f"copy-{number}", created_at=created_at, tags=frozenset())
    return replace(copy, **fields)


class TestInstallation:
    def test_is_the_same_for_ever_wherever_it_is_computed(self) -> None:
        """This very value is in the images of every cloud: a changed one would orphan them."""
        assert installation_id("p", "octavia-amphora") == "03a2a061-5775-59bb-9127-85fc9032e866"

    def test_differs_by_tag_and_by_project(self) -> None:
        made = {installation_id(project, tag) for project in "ab" for tag in (TAG, STAGING)}
        assert len(made) == 4


class TestWhose:
    def test_an_image_that_names_itself_us_and_the_target_is_ours(self) -> None:
        assert basis(amphora(1)) is Basis.PRESENT

    @pytest.mark.parametrize(
        ("image", "expected"),
        [
            (amphora(1, owner="tenant"), Basis.OTHER_PROJECT),
            (amphora(1, tag=STAGING, tagged=True), Basis.OTHER_INSTALLATION),
            (amphora(1, target="other"), Basis.OTHER_TARGET),
            (copied(amphora(1), 2), Basis.COPY),
            (copied(amphora(1), 2, disk_format="raw", hash_value="of a volume"), Basis.COPY),
            (amphora(1, properties={"image_type": "snapshot"}), Basis.SNAPSHOT),
            (amphora(1, properties={IMAGE_ID: None}), Basis.COPY),
            (synced(), Basis.UNRELATED),
        ],
        ids=lambda each: each.value if isinstance(each, Basis) else "",
    )
    def test_nothing_else_is(self, image: Image, expected: Basis) -> None:
        assert basis(image) is expected
        assert inventory(image).ours(TARGET) == []

    def test_the_same_target_of_the_same_tag_in_another_project_is_another(self) -> None:
        moved = amphora(1, properties={"retrofit_installation": installation_id("was", TAG)})
        assert basis(moved) is Basis.OTHER_INSTALLATION

    def test_another_installation_is_neither_demoted_nor_hidden_nor_retired(self) -> None:
        production = amphora(1, tagged=True)
        staging = [amphora(n, tag=STAGING, promoted_before=True) for n in (2, 3)]
        ours = amphora(4, tag=STAGING, tagged=True)
        seen = inventory(production, *staging, ours)
        target = Target(publish=RULES.model_copy(update={"tag": STAGING}))
        turned = rotate(seen, target, promoted=ours.id, usage=Usage())
        touched = {*ids(turned.demote), *ids(turned.hide), *ids(turned.retire)}
        assert production.id not in touched
        assert touched == {"amphora-0002", "amphora-0003"}

    def test_is_promoted_under_no_other_tag_than_its_own(self) -> None:
        """With the source and recipe of the moment, 0.1.0 tagged the other one's image."""
        production = amphora(1, tagged=True)
        target = Target(publish=RULES.model_copy(update={"tag": STAGING}))
        source = choose_source([synced("20260911")], SourceSettings(), own_project=OWN).source
        assert source is not None
        decision = decide(
            inventory(production), target, source, recipe="sha256:recipe", force=False
        )
        assert (decision.build, decision.promote) == (True, None)


class TestOtherTags:
    @pytest.mark.parametrize("extra", ["octavia-amphora-pinned", "keep"])
    def test_an_image_with_one_is_never_untagged_hidden_or_deleted(self, extra: str) -> None:
        pinned = amphora(1, tagged=True, tags=frozenset({TAG, extra}))
        demoted = amphora(2, promoted_before=True, tags=frozenset({extra}))
        ours = amphora(3, tagged=True)
        turned = rotate(inventory(pinned, demoted, ours), TARGET, promoted=ours.id, usage=Usage())
        assert turned.demote == turned.hide == turned.retire == ()
        assert [note.split(": ")[0] for note in turned.notes] == [
            f"image {image.id} carries the tag {extra} besides ours" for image in (demoted, pinned)
        ]

    def test_the_tags_of_the_charm_are_none(self) -> None:
        other = amphora(1, tags=frozenset({TAG, "octavia-diskimage-retrofit"}), tagged=True)
        ours = amphora(3, tagged=True)
        turned = rotate(inventory(other, ours), TARGET, promoted=ours.id, usage=Usage())
        assert ids(turned.demote) == (other.id,)


class TestFormerNames:
    def test_a_changed_tag_keeps_the_image_promoted_under_both(self) -> None:
        seen = inventory(amphora(1, promoted_before=True), amphora(2, tagged=True))
        assert promoted_image(seen, RENAMED_TAG) is seen.images[1]
        newest, demoted = carry_overs(seen, RENAMED_TAG)
        assert (newest.image.id, newest.tags) == ("amphora-0002", ("v2",))
        assert (demoted.image.id, demoted.tags) == ("amphora-0001", ())
        assert newest.properties == Identity.of(RENAMED_TAG, OWN).properties_of("amphora-0002")

    def test_so_does_one_that_is_rejected_while_nothing_stands_in_for_it(self) -> None:
        seen = inventory(
            amphora(1, promoted_before=True), amphora(2, tagged=True, properties=REJECTED)
        )
        assert promoted_image(seen, RENAMED_TAG) is seen.images[1]
        tags = {each.image.id: each.tags for each in carry_overs(seen, RENAMED_TAG)}
        assert tags == {"amphora-0001": (), "amphora-0002": ("v2",)}

    def test_no_other_rejected_one_gets_the_tag(self) -> None:
        seen = inventory(amphora(1, tagged=True), amphora(2, tagged=True, properties=REJECTED))
        assert promoted_image(seen, RENAMED_TAG) is seen.images[0]
        tags = {each.image.id: each.tags for each in carry_overs(seen, RENAMED_TAG)}
        assert tags == {"amphora-0001": ("v2",), "amphora-0002": ()}

    def test_without_former_tags_it_is_another_installation(self) -> None:
        target = Target(publish=RULES.model_copy(update={"tag": "v2"}))
        seen = inventory(amphora(2, tagged=True))
        assert seen.ours(target) == []
        (warning,) = warnings(seen, target)
        assert 'publish.former_tags = ["octavia-amphora"]' in warning

    def test_a_renamed_target_keeps_its_images(self) -> None:
        seen = inventory(amphora(2, tagged=True))
        assert promoted_image(seen, RENAMED) is seen.images[0]
        assert [each.tags for each in carry_overs(seen, RENAMED)] == [()]

    def test_images_of_a_target_that_is_configured_no_more_are_named(self) -> None:
        target = Target(name="noble", publish=RULES)
        seen = inventory(amphora(2, tagged=True))
        assert seen.ours(target) == []
        assert any('formerly = ["default"]' in warning for warning in warnings(seen, target))

    def test_both_tags_leave_an_image_together(self) -> None:
        was = amphora(1, tags=frozenset({TAG, "v2"}), tag="v2")
        now = amphora(2, tags=frozenset({TAG, "v2"}), tag="v2")
        turned = rotate(inventory(was, now), RENAMED_TAG, promoted=now.id, usage=Usage())
        assert ids(turned.demote) == (was.id,)


class TestOf01:
    def test_is_taken_over_by_proof(self) -> None:
        images = [old(1, promoted_before=True), old(2, tagged=True), old(3)]
        seen = inventory(*images)
        assert {basis(image, *images) for image in images} == {Basis.OF_0_1}
        assert [each.image.id for each in carry_overs(seen, TARGET)] == [
            "amphora-0003", "amphora-0002", "amphora-0001"
        ]  # fmt: skip
        assert ambiguity(seen, TARGET) is None

    @pytest.mark.parametrize(
        "lacking",
        [
            {"properties": {"retrofit_run_id": None}},
            {"hash_value": "of other bytes"},
            {"properties": {"retrofit_verified_at": "2026-01-01T00:00:00+00:00"}},
            {"properties": {"retrofit_verified_at": None}},
        ],
        ids=["no run", "other bytes", "created long after its verification", "never verified"],
    )
    def test_what_lacks_a_proof_is_left_alone_and_named(self, lacking: dict[str, Any]) -> None:
        image = old(2, tagged=True, **lacking)
        assert basis(image) is Basis.UNPROVEN
        seen = inventory(image)
        assert carry_overs(seen, TARGET) == ()
        assert any(f"adopt {image.id}" in warning for warning in warnings(seen, TARGET))

    def test_a_copy_of_one_is_not_taken_over_before_nor_after_its_original(self) -> None:
        original = old(2, tagged=True)
        copy = copied(original, 3)
        assert basis(copy, original) is Basis.UNPROVEN
        assert basis(original, copy) is Basis.OF_0_1
        taken = replace(
            original,
            properties={
                **original.properties, **Identity.of(TARGET, OWN).properties_of(original.id)
            },
        )  # fmt: skip
        assert basis(copy, taken) is Basis.UNPROVEN

    def test_nor_is_one_whose_original_has_another_target_by_now(self) -> None:
        """A renamed target took it over; another installation of the old name looks at the copy."""
        original = old(2, tagged=True)
        copy = copied(original, 3)
        named = Identity.of(RENAMED, OWN).properties_of(original.id)
        world = World()
        for image in (replace(original, properties=original.properties | named), copy):
            world.images[image.id] = image
        staging = Target(publish=PublishSettings(tag=STAGING))
        seen = take_inventory(staging, cast("Glance", MemoryGlance(world)))
        assert {copy.id, original.id} <= set(ids(seen.images))
        assert whose(copy, seen.identity(staging), seen.images).basis is Basis.UNPROVEN

    @pytest.mark.parametrize(
        "sign",
        [
            old(5, tags=frozenset({STAGING})),
            old(5, tags=frozenset({STAGING, TAG})),
            amphora(5, tag=STAGING, promoted_before=True),
        ],
        ids=["of 0.1.0 with its tag", "of 0.1.0 with both tags", "of this version"],
    )
    def test_with_another_installation_in_the_project_nothing_is_touched(self, sign: Image) -> None:
        seen = inventory(old(1, promoted_before=True), old(2, tagged=True), sign)
        assert carry_overs(seen, TARGET) == ()
        error = ambiguity(seen, TARGET)
        assert error is not None
        assert error.exit_code == 2
        assert "adopt" in error.hint
        assert "amphora-0002" in error.hint

    def test_a_new_installation_beside_one_of_0_1_0_is_not_held_up(self) -> None:
        seen = inventory(old(1, promoted_before=True), old(2, tagged=True))
        staging = Target(publish=RULES.model_copy(update={"tag": STAGING}))
        assert ambiguity(seen, staging) is None
        assert seen.ours(staging) == []

    def test_a_former_tag_is_no_sign_of_another(self) -> None:
        seen = inventory(old(2, tagged=True))
        (taken,) = carry_overs(seen, RENAMED_TAG)
        assert taken.tags == ("v2",)


class TestMachines:
    def test_an_unfinished_record_of_another_one_is_reported_with_the_way_out(self) -> None:
        theirs = amphora(
            2, status="saving", properties={STATE_ID: "other", "retrofit_host": "node-2"}
        )
        seen = inventory(theirs, machine=ALONE)
        assert leftovers(seen, TARGET) == []
        (warning,) = warnings(seen, TARGET)
        for part in ("node-2", theirs.id, f"{theirs.created_at:%Y-%m-%d}", "lock.url", "delete"):
            assert part in warning

    def test_0_1_0s_is_a_leftover_where_its_logs_are(self) -> None:
        record = old(2, status="saving")
        assert leftovers(inventory(record, machine=ALONE), TARGET) == []
        here = replace(ALONE, runs=frozenset({"run-2"}))
        assert leftovers(inventory(record, machine=here), TARGET) == [record]

    def test_a_promotion_by_another_one_is_reported(self) -> None:
        theirs = amphora(2, tagged=True, properties={STATE_ID: "other"})
        (warning,) = warnings(inventory(theirs, machine=ALONE), TARGET)
        assert "lock.url" in warning
        assert warnings(inventory(theirs), TARGET) == []

    def test_no_run_goes_back_from_what_another_one_promoted(self) -> None:
        demoted = {"retrofit_demoted_at": "2026-11-02T00:00:00+00:00"}
        mine = amphora(1, promoted_before=True, properties=demoted)
        theirs = amphora(2, tagged=True, recipe="sha256:theirs", properties={STATE_ID: "other"})
        source = choose_source([synced("20260911")], SourceSettings(), own_project=OWN).source
        assert source is not None
        given = {"recipe": "sha256:recipe", "force": False}
        alone = decide(inventory(mine, theirs, machine=ALONE), TARGET, source, **given)  # type: ignore[arg-type]
        assert (alone.build, alone.promote) == (False, None)
        assert "lock.url" in alone.notes[-1]
        shared = decide(inventory(mine, theirs), TARGET, source, **given)  # type: ignore[arg-type]
        assert shared.promote is mine

    def test_what_another_one_uploaded_and_may_promote_yet_is_not_retired(self) -> None:
        ready = amphora(1, properties={STATE_ID: "other"})
        mine = amphora(2, tagged=True)
        alone = rotate(
            inventory(ready, mine, machine=ALONE), TARGET, promoted=mine.id, usage=Usage()
        )
        assert alone.retire == ()
        shared = rotate(inventory(ready, mine), TARGET, promoted=mine.id, usage=Usage())
        assert shared.retire == (ready,)


def test_installations_of_other_names_in_the_project_are_named() -> None:
    images = [
        amphora(1, target="edge", tag="edge"),
        amphora(2, target="edge", tag="edge"),
        amphora(3),
        copied(amphora(4, target="gone", tag="gone"), 5),
        amphora(6, target="far", tag="far", owner="tenant"),
        synced(),
    ]
    (warning,) = other_installations_in_project(images, OWN, [TARGET])
    assert "target edge with tag edge (2)" in warning
