from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from retrofit.config import PublishSettings, Target
from retrofit.errors import PublishError
from retrofit.model import Image
from retrofit.plan import Inventory, Promotion, promotion, rollback
from tests.unit.images import NOW, OWN, amphora, charm_image

RECIPE = "sha256:recipe"
TARGET = Target()
REJECTED = {"retrofit_rejected_at": "2026-11-20T00:00:00+00:00"}


def inventory(*images: Image) -> Inventory:
    return Inventory(images=images, own_project=OWN, now=NOW)


def promoting(image_id: str, *images: Image, target: Target = TARGET, **given: Any) -> Promotion:
    return promotion(inventory(*images), target, image_id, **{"recipe": RECIPE, **given})


def going_back(*images: Image, to: str | None = None) -> Promotion:
    return rollback(inventory(*images), TARGET, to, recipe=RECIPE)


def ids(images: tuple[Image, ...]) -> set[str]:
    return {image.id for image in images}


class TestPromotion:
    def test_rejects_what_is_newer(self) -> None:
        images = [amphora(1), amphora(2), amphora(3, tagged=True), amphora(4, status="queued")]
        wanted = promoting("amphora-0002", *images)
        assert (wanted.image, wanted.previous) == (images[1], images[2])
        assert ids(wanted.reject) == {"amphora-0003"}
        assert not wanted.changes_nothing

    @pytest.mark.parametrize(
        ("standing", "wanted", "rejects"),
        [
            ({}, {}, False),
            ({"version": "20260911.10"}, {"version": "20260911.9"}, True),
            ({"version": "20260911.9"}, {"version": "20260911.10"}, False),
            ({}, {"recipe": "sha256:other"}, True),
            ({"recipe": "sha256:other"}, {}, False),
            ({"recipe": "sha256:other"}, {"recipe": "sha256:third"}, False),
        ],
    )
    def test_rejects_what_the_next_run_would_take_back_instead(
        self, standing: dict[str, str], wanted: dict[str, str], rejects: bool
    ) -> None:
        images = (amphora(1, tagged=True, **standing), amphora(2, **wanted))
        assert bool(promoting("amphora-0002", *images).reject) is rejects
        assert promoting("amphora-0002", *images, recipe=None).reject == ()

    def test_of_what_is_promoted_changes_nothing(self) -> None:
        assert promoting("amphora-0001", amphora(1, tagged=True)).changes_nothing

    @pytest.mark.parametrize(
        "image",
        [
            amphora(1, owner="tenant"),
            amphora(1, target="other"),
            amphora(1, status="deactivated"),
            amphora(1, status="queued"),
            amphora(1, hash_value="other"),
            amphora(1, size=0),
        ],
    )
    def test_refuses_what_is_not_ours_or_not_what_was_built(self, image: Image) -> None:
        with pytest.raises(PublishError) as refused:
            promoting(image.id, image, amphora(2, tagged=True))
        assert image.id in refused.value.message
        assert refused.value.hint

    def test_refuses_what_would_not_win_before_anything_is_changed(self) -> None:
        nobodys = replace(amphora(9, tagged=True), properties={})
        with pytest.raises(PublishError, match="Octavia would select amphora-0009"):
            promoting("amphora-0001", amphora(1), nobodys)
        for loses in (
            replace(nobodys, hidden=True),
            replace(nobodys, owner="tenant"),
            replace(nobodys, tags=frozenset()),
            replace(nobodys, created_at=amphora(0).created_at),
        ):
            assert promoting("amphora-0001", amphora(1), loses).image.id == "amphora-0001"

    def test_counts_the_charms_image_as_in_the_way_unless_it_may_adopt_it(self) -> None:
        images = (amphora(1), charm_image(2))
        with pytest.raises(PublishError, match="Octavia would select charm-2"):
            promoting("amphora-0001", *images)
        adopting = Target(publish=PublishSettings(replace_charm_images=True))
        assert promoting("amphora-0001", *images, target=adopting).image.id == "amphora-0001"

    def test_another_product_and_a_newer_version_are_more_current(self) -> None:
        other = {"source_product_name": "com.ubuntu.cloud:server:22.04:amd64"}
        images = (amphora(1, tagged=True, properties=other), amphora(2))
        assert ids(promoting("amphora-0002", *images).reject) == {"amphora-0001"}

    def test_knows_the_finished_images(self) -> None:
        images = (amphora(1), amphora(2), amphora(3, status="queued"))
        assert promoting("amphora-0002", *images).known_ids == {"amphora-0001", "amphora-0002"}


class TestRollback:
    @pytest.mark.parametrize("to", [None, "amphora-0001"])
    def test_rejects_what_the_next_run_would_take_back_instead(self, to: str | None) -> None:
        images = (
            amphora(1, promoted_before=True, version="20260911.1"),
            amphora(0, version="20260911.2"),
            amphora(2, tagged=True),
        )
        assert ids(going_back(*images, to=to).reject) == {"amphora-0000", "amphora-0002"}

    def test_the_same_command_once_more_rejects_the_same(self) -> None:
        images = (amphora(1, tagged=True, version="20260911.1"), amphora(0, version="20260911.2"))
        assert ids(going_back(*images, to="amphora-0001").reject) == {"amphora-0000"}

    def test_goes_to_the_last_usable_image_that_served_before(self) -> None:
        images = [
            amphora(1, promoted_before=True),
            amphora(2, promoted_before=True),
            amphora(3, promoted_before=True, hash_value="other"),
            amphora(4, promoted_before=True, properties=REJECTED),
            amphora(5),
            amphora(6, tagged=True),
            amphora(7, promoted_before=True),
        ]
        wanted = going_back(*images)
        assert wanted.image.id == "amphora-0002"
        assert {"amphora-0006", "amphora-0007"} <= ids(wanted.reject)

    def test_goes_to_a_named_older_image_even_one_that_was_rejected(self) -> None:
        images = (amphora(1, properties=REJECTED), amphora(2, tagged=True))
        assert going_back(*images, to="amphora-0001").image.id == "amphora-0001"

    def test_says_that_there_is_nothing_to_go_back_to(self) -> None:
        for images in ([], [amphora(2, tagged=True)], [amphora(1), amphora(2, tagged=True)]):
            with pytest.raises(PublishError, match="no older image to go back to"):
                going_back(*images)

    def test_refuses_a_newer_image_by_name(self) -> None:
        with pytest.raises(PublishError, match="is not an older image") as refused:
            going_back(amphora(1, tagged=True), amphora(2), to="amphora-0002")
        assert "retrofit promote" in (refused.value.hint or "")

    def test_with_nothing_promoted_goes_to_the_newest_that_served(self) -> None:
        images = (amphora(1, promoted_before=True), amphora(2, promoted_before=True), amphora(3))
        assert going_back(*images).image.id == "amphora-0002"

    def test_the_same_command_once_more_goes_no_further_back(self) -> None:
        images = (amphora(1), amphora(2, tagged=True), amphora(3, properties=REJECTED))
        assert going_back(*images, to="amphora-0002").changes_nothing

    def test_a_rollback_that_died_before_the_newer_one_lost_its_tag_goes_no_further(self) -> None:
        images = [
            amphora(1, promoted_before=True),
            amphora(2, tagged=True),
            amphora(3, tagged=True, properties=REJECTED),
        ]
        assert going_back(*images).image.id == "amphora-0002"

    def test_an_older_image_that_loses_its_tag_is_no_such_rollback(self) -> None:
        served = amphora(1, promoted_before=True)
        rejected = amphora(2, tagged=True, properties=REJECTED)
        assert going_back(served, rejected, amphora(3, tagged=True)).image is served


def test_refusals_come_with_the_way_out() -> None:
    with pytest.raises(PublishError) as unusable:
        promoting("amphora-0001", amphora(1, status="deactivated"))
    assert unusable.value.message == (
        "cannot promote amphora-0001: image is deactivated, 2000 bytes, and not what was built and"
        " verified"
    )
    assert unusable.value.hint == (
        "choose another one of `retrofit list`, or build by"
        " `retrofit --target default run-once --force`"
    )
    with pytest.raises(PublishError) as unknown:
        promoting("nobody", amphora(1))
    assert unknown.value.message == "image nobody is not an amphora image of target default"
    assert unknown.value.hint == (
        "`retrofit list` shows those that are; images of others are never touched"
    )
    with pytest.raises(PublishError) as in_the_way:
        promoting("amphora-0001", amphora(1), charm_image(2))
    assert in_the_way.value.message == (
        "cannot promote amphora-0001: Octavia would select charm-2"
        " (amphora-haproxy-x86_64-ubuntu-24.04-20260911), which is newer, carries the tag"
        " octavia-amphora and is not ours"
    )
    assert in_the_way.value.hint == (
        "remove its tag first: openstack image unset --tag octavia-amphora charm-2"
    )
    with pytest.raises(PublishError) as nothing:
        going_back(amphora(1, tagged=True))
    assert nothing.value.message == "target default has no older image to go back to"
    assert nothing.value.hint == (
        "publish.keep is how many stay; `retrofit --target default run-once --force` builds a new"
        " one"
    )
    with pytest.raises(PublishError) as rejected:
        going_back(amphora(1, properties=REJECTED), amphora(2, tagged=True))
    assert rejected.value.message == (
        "target default has no older image to go back to; rejected: amphora-0001"
    )
    assert rejected.value.hint == ("`retrofit promote amphora-0001` promotes that one all the same")
    with pytest.raises(PublishError) as newer:
        going_back(amphora(1, tagged=True), amphora(2), to="amphora-0002")
    assert newer.value.message == (
        "image amphora-0002 is not an older image of target default than the promoted amphora-0001"
    )
    assert newer.value.hint == "`retrofit promote amphora-0002` promotes it all the same"
