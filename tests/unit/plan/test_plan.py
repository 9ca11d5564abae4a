from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrofit.config import BuildSettings, PublishSettings, SourceSettings, Target
from retrofit.model import Amphora, Image, Source, Usage
from retrofit.plan import (
    Decision,
    Facts,
    Inventory,
    Machine,
    Plan,
    Rotation,
    decide,
    is_eligible,
    is_usable,
    leftovers,
    needs_usage,
    octavia_order,
    plan,
    promoted_image,
    rotate,
    warnings,
)
from retrofit.plan.identity import STATE_ID
from retrofit.source.choose import choose_source
from tests.unit.images import NOW, OWN, amphora, charm_image, synced

TAG = "octavia-amphora"
RECIPE = "sha256:recipe"
UNUSED = Usage()
NOBODY_KNOWS = Usage(unknown="Octavia cannot be asked")
TARGET = Target(publish=PublishSettings(keep=2, retire_after=0))


def inventory(*images: Image) -> Inventory:
    return Inventory(images=images, own_project=OWN, now=NOW)


def source(version: str = "20260911") -> Source:
    chosen = choose_source([synced(version)], SourceSettings(), own_project=OWN).source
    assert chosen is not None
    return chosen


def decision(*images: Image, version: str = "20260911", force: bool = False) -> Decision:
    return decide(inventory(*images), TARGET, source(version), recipe=RECIPE, force=force)


def rotation(
    *images: Image,
    promoted: str | None,
    target: Target = TARGET,
    usage: Usage = UNUSED,
    known_ids: Collection[str] | None = None,
) -> Rotation:
    return rotate(inventory(*images), target, promoted=promoted, usage=usage, known_ids=known_ids)


def running(*, image: str | None, status: str = "ALLOCATED", created_at: datetime = NOW) -> Amphora:
    return Amphora(id="amphora-vm", status=status, created_at=created_at, image_id=image)


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
        assert "check that the synchroniser runs" in made.notes[0]

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

    def test_leaves_an_image_alone_that_somebody_rejected(self) -> None:
        old = amphora(1, tagged=True, version="20260801")
        by_rollback = {"retrofit_demoted_at": "2026-11-20", "retrofit_rejected_at": "2026-11-20"}
        for against in (
            amphora(2, promoted_before=True),  # its tag was taken away with other tools
            amphora(2, promoted_before=True, properties=by_rollback),
        ):
            made = decision(old, against)
            assert (made.build, made.promote) == (False, None)
            assert "somebody rejected it" in made.notes[0]
            assert decision(old, against, force=True).build

    def test_takes_back_what_rotation_demoted_when_the_recipe_is_that_again(self) -> None:
        demoted = {"retrofit_demoted_at": "2026-11-20T00:00:00+00:00"}
        before = amphora(1, promoted_before=True, properties=demoted)
        made = decision(before, amphora(2, tagged=True, recipe="sha256:other"))
        assert made.promote is not None
        assert made.promote.id == "amphora-0001"

    def test_builds_when_the_promoted_image_is_no_longer_what_was_published(self) -> None:
        for bad in ({"size": 0}, {"hash_value": "other"}):
            made = decision(amphora(1, tagged=True, **bad))
            assert made.build
            assert "is no longer what was published" in made.reasons[0]

    def test_says_in_which_state_the_promoted_image_is_when_octavia_cannot_take_it(self) -> None:
        made = decision(amphora(1, tagged=True, status="deactivated"))
        assert made.build
        assert made.reasons == (
            "image amphora-0001 carries the tag but is deactivated: Octavia cannot use it",
        )

    def test_builds_when_the_promoted_image_is_too_old(self) -> None:
        target = Target(build=BuildSettings(max_age=30))
        for days, builds in ((29, False), (31, True)):
            stock = inventory(amphora(1, tagged=True, age_hours=24 * days))
            made = decide(stock, target, source(), recipe=RECIPE, force=False)
            assert made.build is builds
            assert ("build.max_age" in "".join(made.reasons)) is builds

    def test_counts_the_charms_image_as_built_unless_forced(self) -> None:
        made = decision(charm_image(1))
        assert (made.build, made.reasons) == (False, ())
        assert "octavia-diskimage-retrofit charm" in made.notes[0]
        assert decision(charm_image(1), force=True).build
        assert decision(charm_image(1, version="20260801")).build
        assert decision(charm_image(1, tagged=False)).build
        assert decision(charm_image(1, owner="tenant")).build
        assert decision(charm_image(1, arch="arm64")).build

    def test_promotes_again_what_rotation_demoted_when_nothing_is_promoted(self) -> None:
        demoted = {"retrofit_demoted_at": "2026-11-20T00:00:00+00:00"}
        made = decision(amphora(2, promoted_before=True, properties=demoted))
        assert made.promote is not None
        assert made.promote.id == "amphora-0002"

    def test_hidden_or_deactivated_images_do_not_count_as_promoted(self) -> None:
        for lost in ({"hidden": True}, {"status": "deactivated"}):
            assert promoted_image(inventory(amphora(1, tagged=True, **lost)), TARGET) is None

    def test_completes_a_rollback_that_died_before_it_demoted_the_newer_image(self) -> None:
        against = {"retrofit_rejected_at": "2026-11-20T00:00:00+00:00"}
        older = amphora(1, tagged=True, version="20260801")
        both = (older, amphora(2, tagged=True, properties=against))
        assert promoted_image(inventory(*both), TARGET) == older
        made = decision(*both)
        assert (made.build, made.promote) == (False, None)
        assert ids(rotation(*both, promoted=older.id).demote) == ["amphora-0002"]

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

    def test_never_retires_what_is_newer_than_the_promoted_one(self) -> None:
        # They tell which source and recipe a rollback decided against.
        images = [amphora(n, tagged=n == 2) for n in range(1, 6)]
        turned = rotation(*images, promoted="amphora-0002")
        assert ids(turned.retire) == ["amphora-0001"]

    def test_never_retires_what_a_rollback_rejected_though_a_clock_was_set_back(
        self,
    ) -> None:
        rejected = {"retrofit_rejected_at": "2026-11-20T00:00:00+00:00"}
        against = [
            amphora(1, version="20260913", promoted_before=True, properties=rejected),
            amphora(2, recipe="sha256:newer", promoted_before=True, properties=rejected),
        ]
        done_with = [
            amphora(3, version="20260910", promoted_before=True, properties=rejected),
            amphora(4, promoted_before=True, properties=rejected),
        ]
        others = [amphora(n, promoted_before=True) for n in (5, 6)]
        turned = rotation(*against, *done_with, *others, promoted="amphora-0006")
        assert ids(turned.retire) == ["amphora-0004", "amphora-0003"]

    def test_keeps_what_was_promoted_before_what_a_dead_run_left_unpromoted(self) -> None:
        images = [amphora(1, promoted_before=True), amphora(2, promoted_before=False), amphora(3)]
        turned = rotation(*images, promoted="amphora-0003")
        assert ids(turned.retire) == ["amphora-0002"]

    @pytest.mark.parametrize(
        ("seen", "demoted"), [((1, 2, 3), (3, 1)), ((1, 2), (1,)), ((2,), (1,))]
    )
    def test_what_came_after_the_decision_leaves_only_where_it_is_older(
        self, seen: tuple[int, ...], demoted: tuple[int, ...]
    ) -> None:
        images = [amphora(number, tagged=True) for number in (1, 2, 3)]
        turned = rotation(
            *images, promoted="amphora-0002", known_ids=[f"amphora-{number:04}" for number in seen]
        )
        wanted = [f"amphora-{number:04}" for number in demoted]
        assert ids(turned.demote) == wanted
        assert ids(turned.hide) == wanted

    def test_keeps_images_that_can_be_promoted_not_broken_ones(self) -> None:
        images = [amphora(1), amphora(2, size=0), amphora(3, status="deactivated"), amphora(4)]
        turned = rotation(*images, promoted="amphora-0004")
        assert ids(turned.retire) == ["amphora-0003", "amphora-0002"]

    def test_never_touches_what_nova_took_of_an_amphora(self) -> None:
        taken = {"image_type": "snapshot", "base_image_ref": "amphora-0001"}
        snapshots = [
            amphora(1, properties=taken, tagged=True),
            amphora(2, properties=taken, status="saving", tagged=False),
        ]
        ours = [amphora(n, promoted_before=True) for n in range(3, 6)]
        turned = rotation(*snapshots, *ours, promoted="amphora-0005")
        for touched in (turned.demote, turned.hide, turned.retire):
            assert not set(ids(touched)) & {"amphora-0001", "amphora-0002"}
        swept = leftovers(inventory(*snapshots), TARGET)
        assert swept == []

    def test_never_retires_what_an_amphora_runs_on(self) -> None:
        images = [amphora(n) for n in range(1, 5)]
        usage = Usage(amphorae=(running(image="amphora-0001"), running(image="amphora-0001")))
        turned = rotation(*images, promoted="amphora-0004", usage=usage)
        assert ids(turned.retire) == ["amphora-0002"]
        assert turned.notes == ("image amphora-0001 is in use by 2 amphorae: kept",)

    def test_counts_a_single_amphora_in_the_singular(self) -> None:
        usage = Usage(amphorae=(running(image="amphora-0001"),))
        images = [amphora(n) for n in range(1, 4)]
        turned = rotation(*images, promoted="amphora-0003", usage=usage)
        assert turned.notes == ("image amphora-0001 is in use by 1 amphora: kept",)

    def test_keeps_what_an_amphora_may_be_starting_from(self) -> None:
        images = [
            amphora(1, properties={"retrofit_demoted_at": "2026-11-22T11:00:00+00:00"}),
            *(amphora(n, promoted_before=n == 3) for n in range(2, 5)),
        ]
        starting = running(image=None, status="BOOTING", created_at=NOW - timedelta(hours=2))
        turned = rotation(*images, promoted="amphora-0004", usage=Usage(amphorae=(starting,)))
        assert ids(turned.retire) == ["amphora-0002"]
        assert "may be what amphora amphora-vm starts from" in turned.notes[0]
        later = replace(starting, created_at=NOW - timedelta(minutes=5))
        turned = rotation(*images, promoted="amphora-0004", usage=Usage(amphorae=(later,)))
        assert ids(turned.retire) == ["amphora-0002", "amphora-0001"]

    def test_waits_longer_where_nobody_can_say_what_is_in_use(self) -> None:
        target = Target(publish=PublishSettings(keep=1, retire_after=24, retire_after_unknown=720))
        images = [amphora(1, age_hours=500), amphora(2, age_hours=40)]
        known = rotation(*images, promoted="amphora-0002", target=target)
        assert ids(known.retire) == ["amphora-0001"]
        unknown = rotation(*images, promoted="amphora-0002", target=target, usage=NOBODY_KNOWS)
        assert unknown.retire == ()
        assert "(publish.retire_after_unknown)" in unknown.notes[0]
        assert "Octavia cannot be asked" in unknown.notes[0]

    def test_counts_from_the_demotion_where_it_is_known(self) -> None:
        target = Target(publish=PublishSettings(keep=1, retire_after=48))
        demoted = {"retrofit_demoted_at": "2026-11-22T11:00:00+00:00"}
        images = [amphora(1, age_hours=500, properties=demoted), amphora(2, age_hours=300)]
        turned = rotation(*images, promoted="amphora-0002", target=target)
        assert turned.retire == ()
        assert "stays until 2026-11-24 11:00 UTC" in turned.notes[0]

    def test_what_others_demoted_counts_from_when_a_run_first_sees_it(self) -> None:
        target = Target(publish=PublishSettings(keep=1, retire_after=48))
        # It served until somebody took its tag away, however long ago the newer one was made.
        images = [amphora(1, age_hours=500, promoted_before=True), amphora(2, age_hours=300)]
        turned = rotation(*images, promoted="amphora-0002", target=target)
        assert (turned.retire, ids(turned.reject)) == ((), ["amphora-0001"])
        mark = {"retrofit_rejected_at": (NOW - timedelta(hours=49)).isoformat()}
        seen = amphora(1, age_hours=500, promoted_before=True, properties=mark)
        turned = rotation(seen, images[1], promoted="amphora-0002", target=target)
        assert (ids(turned.retire), turned.reject) == (["amphora-0001"], ())

    @pytest.mark.parametrize("status", ["ALLOCATED", "ERROR"])
    def test_an_amphora_of_unknown_image_may_run_on_what_was_promoted_then(
        self, status: str
    ) -> None:
        # One that boots from a volume; one whose start failed half way.
        target = Target(publish=PublishSettings(keep=1, retire_after=24, retire_after_unknown=720))
        images = [amphora(1, age_hours=500), amphora(2, age_hours=40)]
        before = running(image=None, status=status, created_at=NOW - timedelta(hours=50))
        usage = Usage(amphorae=(before, running(image="amphora-0002")))
        turned = rotation(*images, promoted="amphora-0002", target=target, usage=usage)
        assert turned.retire == ()
        assert "does not know the image of 1 of them, such as amphora-vm" in turned.notes[0]
        after = replace(before, created_at=NOW - timedelta(hours=30))
        turned = rotation(
            *images, promoted="amphora-0002", target=target, usage=Usage(amphorae=(after,))
        )
        assert ids(turned.retire) == ["amphora-0001"]

    def test_retires_nothing_without_an_answer_that_is_required(self) -> None:
        images = [amphora(n, promoted_before=n == 3) for n in range(1, 4)]
        usage = Usage(unknown="Octavia cannot be reached", required=True)
        target = Target(publish=PublishSettings(keep=1, retire_after=0, retire_after_unknown=0))
        turned = rotation(*images, promoted="amphora-0003", target=target, usage=usage)
        assert turned.retire == ()
        assert "stays until Octavia answers" in turned.notes[0]

    @pytest.mark.parametrize("mark", ["retrofit_demoted_at", "retrofit_set_aside_at"])
    def test_a_mark_of_a_wrong_clock_counts_from_the_successors_creation(self, mark: str) -> None:
        target = Target(publish=PublishSettings(keep=1, retire_after=48))
        marked = {mark: "2019-01-01T00:00:00+00:00"}
        images = [
            amphora(1, age_hours=500, promoted_before=True, properties=marked),
            amphora(2, age_hours=300),  # never promoted: the third is the successor
            amphora(3, age_hours=5, tagged=True),
        ]
        turned = rotation(*images, promoted="amphora-0003", target=target)
        assert "amphora-0001" not in ids(turned.retire)
        assert "stays until 2026-11-24 07:00 UTC" in turned.notes[-1]

    def test_demotes_the_charms_images_only_when_it_may_adopt_them(self) -> None:
        images = (charm_image(1), charm_image(2, tagged=False), amphora(5, tagged=True))
        assert rotation(*images, promoted="amphora-0005").demote == ()
        adopting = Target(
            publish=PublishSettings(keep=1, retire_after=0, replace_charm_images=True)
        )
        turned = rotation(*images, promoted="amphora-0005", target=adopting)
        assert ids(turned.demote) == ["charm-1"]
        assert (turned.hide, turned.retire) == ((), ())

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


class TestNeedsUsage:
    """Octavia is asked only where its answer may keep an image."""

    def facts(self, *images: Image, version: str = "20260911") -> Facts:
        choice = choose_source([synced(version)], SourceSettings(), own_project=OWN)
        return Facts(inventory=inventory(*images), choice=choice, recipe=RECIPE)

    def test_not_where_no_image_would_be_retired(self) -> None:
        kept = amphora(1, promoted_before=True)
        assert not needs_usage(self.facts(kept, amphora(2, tagged=True)), TARGET)
        # With nothing promoted, before a build, nothing is retired.
        outdated = (amphora(number, version="20260801") for number in range(5))
        assert not needs_usage(self.facts(*outdated), TARGET)

    def test_where_an_image_would_be_retired_were_it_not_in_use(self) -> None:
        former = [amphora(number, promoted_before=True) for number in (1, 2)]
        facts = self.facts(*former, amphora(3, tagged=True))
        assert needs_usage(facts, TARGET)
        assert ids(plan(facts, TARGET).rotation.retire) == ["amphora-0001"]
        used = replace(facts, usage=Usage(amphorae=(running(image="amphora-0001"),)))
        assert plan(used, TARGET).rotation.retire == ()

    def test_where_what_is_promoted_next_lets_one_go(self) -> None:
        old = [amphora(1, promoted_before=True), amphora(2, tagged=True, version="20260801")]
        assert not needs_usage(self.facts(*old), TARGET)
        # Made by a run that died before it promoted it: the next run does, and keeps two.
        assert needs_usage(self.facts(*old, amphora(3)), TARGET)


class TestLeftovers:
    def test_sweeps_unfinished_records_of_this_state_directory_only(self) -> None:
        """Neither another directory on the same host, nor an old record, is proof of a death."""
        here = amphora(1, status="queued")
        elsewhere = amphora(2, status="saving", properties={STATE_ID: "other-state"}, age_hours=1)
        stale = amphora(3, status="saving", properties={STATE_ID: "other-state"}, age_hours=99)
        alone = Machine(state_id="this-state", lock_shared=False)
        seen = replace(inventory(here, elsewhere, stale, amphora(4)), machine=alone)
        assert [image.id for image in leftovers(seen, TARGET)] == ["amphora-0001"]

    def test_sweeps_every_unfinished_record_under_a_shared_lock(self) -> None:
        elsewhere = amphora(2, status="saving", properties={STATE_ID: "other-state"}, age_hours=1)
        shared = Machine(state_id="this-state", lock_shared=True)
        found = leftovers(replace(inventory(elsewhere), machine=shared), TARGET)
        assert [image.id for image in found] == ["amphora-0002"]


class TestWarnings:
    def test_says_that_octavia_takes_somebody_elses_image(self) -> None:
        foreign = replace(amphora(9, tagged=True, owner="tenant"), properties={})
        said = warnings(inventory(amphora(1, tagged=True), foreign), TARGET)
        assert "Octavia selects image amphora-0009" in said[0]
        assert "amp_image_owner_id" in said[0]

    def test_says_that_a_tagged_image_is_hidden(self) -> None:
        said = warnings(inventory(amphora(1, tagged=True, hidden=True)), TARGET)
        assert said == [
            "image amphora-0001 carries the tag octavia-amphora and is hidden:"
            " Octavia cannot see it"
        ]

    @pytest.mark.parametrize(
        ("winner", "way_out"),
        [
            (
                charm_image(9),
                "the octavia-diskimage-retrofit charm made it;"
                " publish.replace_charm_images = true lets us demote it",
            ),
            (
                replace(amphora(9, tagged=True, owner="tenant"), properties={}),
                f"set amp_image_owner_id = {OWN}, or remove its tag octavia-amphora",
            ),
            (
                replace(amphora(9, tagged=True), properties={}),
                "remove its tag octavia-amphora",
            ),
        ],
        ids=["charm", "tenant", "own"],
    )
    def test_names_the_way_out_of_what_octavia_selects_instead(
        self, winner: Image, way_out: str
    ) -> None:
        found = warnings(inventory(amphora(1, tagged=True), winner), TARGET)
        assert found == [
            f"Octavia selects image {winner.id} ({winner.name}, owner {winner.owner}), which is not"
            f" of target default: {way_out}",
            f"2 active images carry the tag octavia-amphora: {winner.id}, amphora-0001",
        ]

    def test_never_advises_to_take_the_only_image_from_octavia(self) -> None:
        """As where a target was renamed: its image is what all load balancers start from."""
        winner = replace(amphora(9, tagged=True), properties={})
        (said,) = warnings(inventory(amphora(1), winner), TARGET)
        assert "remove its tag" not in said
        assert (
            "leave its tag until a run of target default has promoted an image of its own" in said
        )
        assert "target.NAME.formerly" in said

    def test_says_that_a_tagged_image_is_deactivated(self) -> None:
        assert warnings(inventory(amphora(1, tagged=True, status="deactivated")), TARGET) == [
            "image amphora-0001 carries the tag octavia-amphora and is deactivated: Octavia cannot"
            " use it"
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
@given(
    inventories,
    st.integers(1, 4),
    st.integers(0, 900),
    st.sets(st.integers(1, 40), max_size=6),
    st.randoms(use_true_random=False),
)
def test_rotation_holds_its_promises_over_any_inventory(
    listed: list[Image], keep: int, retire_after: int, used: set[int], shuffler: random.Random
) -> None:
    target = Target(publish=PublishSettings(keep=keep, retire_after=retire_after))
    stock = inventory(*listed)
    promoted = promoted_image(stock, target)
    standing = promoted.id if promoted else None
    usage = Usage(amphorae=tuple(running(image=f"amphora-{n:04}") for n in used))
    turned = rotate(stock, target, promoted=standing, usage=usage)
    touched = {image.id: image for image in (*turned.demote, *turned.hide, *turned.retire)}
    for image in touched.values():
        assert image.owner == OWN
        assert image.property("retrofit_target") == "default"
        assert promoted is not None
        assert image.id != promoted.id
    for image in turned.retire:
        assert not image.protected
        assert image.id not in {amphora.image_id for amphora in usage.amphorae}
        assert promoted is not None
        assert octavia_order(image) < octavia_order(promoted)
        assert image.created_at <= NOW - timedelta(hours=retire_after)
    if promoted is not None:
        usable = {image.id for image in stock.ours(TARGET) if is_usable(image)} | {promoted.id}
        assert len(usable - set(ids(turned.retire))) >= min(keep, len(usable))
        # Applied, it leaves exactly one for Octavia, and a second look finds nothing to do.
        after = []
        for image in listed:
            if image in turned.retire:
                continue
            tags = image.tags - {TAG} if image in turned.demote else image.tags
            hidden = image.hidden or image in turned.hide
            mark = {"retrofit_demoted_at": NOW.isoformat()} if image in turned.demote else {}
            properties = {**image.properties, **mark}
            after.append(replace(image, tags=tags, hidden=hidden, properties=properties))
        eligible = [i for i in inventory(*after).ours(TARGET) if is_eligible(i, TAG)]
        assert [image.id for image in eligible] == [promoted.id]
        again = rotate(inventory(*after), target, promoted=promoted.id, usage=usage)
        assert (again.demote, again.hide, again.retire) == ((), (), ())
    shuffled = list(listed)
    shuffler.shuffle(shuffled)
    choice = choose_source([synced()], SourceSettings(), own_project=OWN)

    def planned(stock: Inventory) -> Plan:
        facts = Facts(inventory=stock, choice=choice, recipe=RECIPE, usage=usage)
        return plan(facts, target)

    assert planned(stock) == planned(inventory(*shuffled))
