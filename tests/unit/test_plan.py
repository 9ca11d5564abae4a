from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from retrofit.config import PublishSettings, SourceSettings, Target
from retrofit.model import Image, Source
from retrofit.plan import (
    Decision,
    Inventory,
    Rotation,
    decide,
    is_eligible,
    leftovers,
    plan,
    promoted_image,
    rotate,
    warnings,
)
from retrofit.source import choose_source
from tests.unit.images import NOW, OWN, amphora, synced

TAG = "octavia-amphora"
RECIPE = "sha256:recipe"
TARGET = Target(publish=PublishSettings(keep=2, retire_after=0))


def inventory(*images: Image) -> Inventory:
    return Inventory(images=images, own_project=OWN, now=NOW)


def source(version: str = "20260911") -> Source:
    chosen = choose_source([synced(version)], SourceSettings(), own_project=OWN).source
    assert chosen is not None
    return chosen


def decision(*images: Image, version: str = "20260911", force: bool = False) -> Decision:
    return decide(inventory(*images), TARGET, source(version), recipe=RECIPE, force=force)


def rotation(*images: Image, promoted: str | None, target: Target = TARGET) -> Rotation:
    return rotate(inventory(*images), target, promoted=promoted)


def ids(images: tuple[Image, ...]) -> list[str]:
    return [image.id for image in images]


class TestDecision:
    def test_builds_when_nothing_is_promoted(self) -> None:
        made = decision()
        assert made.build
        assert made.reasons == ("no amphora image of this target is promoted",)

    def test_does_nothing_when_source_and_recipe_are_the_same(self) -> None:
        made = decision(amphora(1, tagged=True))
        assert (made.build, made.promote, made.reasons) == (False, None, ())

    def test_builds_from_a_newer_source(self) -> None:
        made = decision(amphora(1, tagged=True), version="20260911.10")
        assert made.build
        assert made.reasons == ("new source version 20260911.10 (was 20260911)",)

    def test_never_builds_because_of_an_older_source_and_says_so(self) -> None:
        made = decision(amphora(1, tagged=True), version="20260801")
        assert not made.build
        assert "is the synchroniser running?" in made.notes[0]

    def test_builds_when_the_recipe_changed(self) -> None:
        made = decision(amphora(1, tagged=True, recipe="sha256:old"))
        assert made.build
        assert made.reasons == ("recipe changed from sha256:old to sha256:recipe",)

    def test_builds_when_the_bytes_of_the_same_version_changed(self) -> None:
        image = amphora(1, tagged=True, properties={"retrofit_source_hash": "sha512:other"})
        assert decision(image).reasons == ("the bytes of source version 20260911 changed",)

    def test_builds_when_forced(self) -> None:
        made = decision(amphora(1, tagged=True), force=True)
        assert made.build
        assert made.reasons == ("forced",)

    def test_promotes_what_a_dead_run_built_and_uploaded(self) -> None:
        old = amphora(1, tagged=True, version="20260801")
        made = decision(old, amphora(2))
        assert not made.build
        assert made.promote is not None
        assert made.promote.id == "amphora-0002"

    def test_builds_again_when_what_a_dead_run_uploaded_is_not_whole(self) -> None:
        old = amphora(1, tagged=True, version="20260801")
        for broken in ({"size": 0}, {"hash_value": "other"}, {"status": "saving"}):
            made = decision(old, amphora(2, **broken))
            assert made.build, broken
            assert made.promote is None

    def test_leaves_a_deliberately_demoted_image_alone(self) -> None:
        rolled_back = amphora(2, promoted_before=True)
        made = decision(amphora(1, tagged=True, version="20260801"), rolled_back)
        assert (made.build, made.promote) == (False, None)
        assert "demoted by somebody" in made.notes[0]

    def test_promotes_again_what_is_current_when_nothing_is_promoted(self) -> None:
        made = decision(amphora(2, promoted_before=True))
        assert made.promote is not None
        assert made.promote.id == "amphora-0002"

    def test_hidden_or_deactivated_images_do_not_count_as_promoted(self) -> None:
        for lost in ({"hidden": True}, {"status": "deactivated"}):
            assert promoted_image(inventory(amphora(1, tagged=True, **lost)), TARGET) is None

    def test_an_image_of_another_project_is_never_ours(self) -> None:
        planted = amphora(9, tagged=True, owner="tenant")
        assert decision(planted).build
        assert rotation(planted, amphora(1, tagged=True), promoted="amphora-0001").demote == ()


class TestRotation:
    def test_demotes_and_hides_all_but_the_promoted(self) -> None:
        turned = rotation(amphora(1, tagged=True), amphora(2, tagged=True), promoted="amphora-0002")
        assert ids(turned.demote) == ["amphora-0001"]
        assert ids(turned.hide) == ["amphora-0001"]

    def test_rotates_nothing_when_nothing_is_promoted(self) -> None:
        turned = rotation(*(amphora(n, tagged=True) for n in range(5)), promoted=None)
        assert (turned.demote, turned.hide, turned.retire) == ((), (), ())

    def test_retires_the_oldest_beyond_keep(self) -> None:
        images = [amphora(n, promoted_before=True) for n in range(1, 5)]
        turned = rotation(*images, promoted="amphora-0004")
        assert ids(turned.retire) == ["amphora-0002", "amphora-0001"]

    def test_keeps_the_promoted_one_even_when_it_is_the_oldest(self) -> None:
        images = [amphora(n, tagged=n == 1) for n in range(1, 5)]
        turned = rotation(*images, promoted="amphora-0001")
        assert ids(turned.retire) == ["amphora-0003", "amphora-0002"]

    def test_waits_before_it_retires(self) -> None:
        target = Target(publish=PublishSettings(keep=1, retire_after=48))
        images = [amphora(1, age_hours=500), amphora(2, age_hours=40)]
        turned = rotation(*images, promoted="amphora-0002", target=target)
        assert turned.retire == ()
        assert "stays until 2026-11-22 20:00 UTC" in turned.notes[0]
        later = replace(images[1], created_at=NOW - timedelta(hours=49))
        turned = rotation(images[0], later, promoted="amphora-0002", target=target)
        assert ids(turned.retire) == ["amphora-0001"]

    def test_leaves_protected_images_alone_and_says_so(self) -> None:
        images = [amphora(1, protected=True), amphora(2), amphora(3)]
        turned = rotation(*images, promoted="amphora-0003")
        assert turned.retire == ()
        assert turned.notes == ("image amphora-0001 is protected: kept",)

    def test_leaves_other_targets_alone(self) -> None:
        others = [amphora(n, target="other", tagged=True) for n in range(1, 4)]
        turned = rotation(*others, amphora(9, tagged=True), promoted="amphora-0009")
        assert (turned.demote, turned.retire) == ((), ())


class TestLeftovers:
    def test_sweeps_unfinished_records_of_this_host_only_or_old_ones(self) -> None:
        here = amphora(1, status="queued")
        elsewhere = amphora(2, status="saving", properties={"retrofit_host": "b"}, age_hours=1)
        stale = amphora(3, status="saving", properties={"retrofit_host": "b"}, age_hours=7)
        found = leftovers(
            inventory(here, elsewhere, stale, amphora(4)),
            TARGET,
            host="this-host",
            lock_shared=False,
        )
        assert sorted(image.id for image in found) == ["amphora-0001", "amphora-0003"]

    def test_sweeps_every_unfinished_record_under_a_shared_lock(self) -> None:
        elsewhere = amphora(2, status="saving", properties={"retrofit_host": "b"}, age_hours=1)
        found = leftovers(inventory(elsewhere), TARGET, host="this-host", lock_shared=True)
        assert [image.id for image in found] == ["amphora-0002"]


class TestWarnings:
    def test_says_that_octavia_takes_somebody_elses_image(self) -> None:
        foreign = replace(amphora(9, tagged=True, owner="tenant"), properties={})
        said = warnings(inventory(amphora(1, tagged=True), foreign), TARGET)
        assert "Octavia takes image amphora-0009" in said[0]
        assert "amp_image_owner_id" in said[0]

    def test_says_that_a_tagged_image_is_hidden(self) -> None:
        said = warnings(inventory(amphora(1, tagged=True, hidden=True)), TARGET)
        assert said == [
            "image amphora-0001 carries the tag octavia-amphora and is hidden:"
            " Octavia cannot see it"
        ]

    def test_is_silent_when_all_is_well(self) -> None:
        assert warnings(inventory(amphora(1, tagged=True), amphora(2)), TARGET) == []


images = st.builds(
    amphora,
    st.integers(1, 40),
    version=st.sampled_from(["20260801", "20260911", "20260911.1"]),
    recipe=st.sampled_from([RECIPE, "sha256:old"]),
    tagged=st.booleans(),
    promoted_before=st.booleans(),
    owner=st.sampled_from([OWN, OWN, OWN, "tenant"]),
    target=st.sampled_from(["default", "default", "other"]),
    status=st.sampled_from(["active", "active", "active", "queued", "deactivated"]),
    hidden=st.booleans(),
    protected=st.booleans(),
)
inventories = st.lists(images, max_size=12, unique_by=lambda image: image.id)


@settings(max_examples=300)
@given(inventories, st.integers(1, 4), st.integers(0, 900), st.randoms(use_true_random=False))
def test_rotation_holds_its_promises_over_any_inventory(
    listed: list[Image], keep: int, retire_after: int, shuffler: random.Random
) -> None:
    target = Target(publish=PublishSettings(keep=keep, retire_after=retire_after))
    stock = inventory(*listed)
    promoted = promoted_image(stock, target)
    turned = rotate(stock, target, promoted=promoted.id if promoted else None)
    touched = {image.id: image for image in (*turned.demote, *turned.hide, *turned.retire)}
    for image in touched.values():
        assert image.owner == OWN
        assert image.property("retrofit_target") == "default"
        assert promoted is not None
        assert image.id != promoted.id
    for image in turned.retire:
        assert not image.protected
        assert image.created_at <= NOW - timedelta(hours=retire_after)
    if promoted is not None:
        ours = {image.id for image in stock.ours("default") if image.status != "queued"}
        assert len(ours) - len(turned.retire) >= min(keep, len(ours))
        # Applied, it leaves exactly one for Octavia, and a second look finds nothing to do.
        after = []
        for image in listed:
            if image in turned.retire:
                continue
            tags = image.tags - {TAG} if image in turned.demote else image.tags
            hidden = image.hidden or image in turned.hide
            after.append(replace(image, tags=tags, hidden=hidden))
        eligible = [i for i in inventory(*after).ours("default") if is_eligible(i, TAG)]
        assert [image.id for image in eligible] == [promoted.id]
        again = rotate(inventory(*after), target, promoted=promoted.id)
        assert (again.demote, again.hide, again.retire) == ((), (), ())
    shuffled = list(listed)
    shuffler.shuffle(shuffled)
    choice = choose_source([synced()], SourceSettings(), own_project=OWN)
    args = {"recipe": RECIPE, "host": "this-host"}
    assert plan(stock, target, choice, **args) == plan(inventory(*shuffled), target, choice, **args)
