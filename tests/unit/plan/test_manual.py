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
SET_ASIDE = {"retrofit_set_aside_at": "2026-11-20T00:00:00+00:00"}


def inventory(*images: Image) -> Inventory:
    return Inventory(images=images, own_project=OWN, now=NOW)


def promoting(image_id: str, *images: Image, target: Target = TARGET, **given: Any) -> Promotion:
    return promotion(inventory(*images), target, image_id, **{"recipe": RECIPE, **given})


def going_back(*images: Image, to: str | None = None) -> Promotion:
    return rollback(inventory(*images), TARGET, to, recipe=RECIPE)


def ids(images: tuple[Image, ...]) -> set[str]:
    return {image.id for image in images}


class TestPromotion:
    def test_sets_aside_what_is_newer(self) -> None:
        images = [amphora(1), amphora(2), amphora(3, tagged=True), amphora(4, status="queued")]
        wanted = promoting("amphora-0002", *images)
        assert (wanted.image, wanted.previous) == (images[1], images[2])
        assert ids(wanted.set_aside) == {"amphora-0003"}
        assert not wanted.changes_nothing

    @pytest.mark.parametrize(
        ("standing", "wanted", "set_aside"),
        [
            ({}, {}, False),
            ({"version": "20260911.10"}, {"version": "20260911.9"}, True),
            ({"version": "20260911.9"}, {"version": "20260911.10"}, False),
            ({}, {"recipe": "sha256:other"}, True),
            ({"recipe": "sha256:other"}, {}, False),
            ({"recipe": "sha256:other"}, {"recipe": "sha256:third"}, False),
        ],
    )
    def test_sets_aside_what_the_next_run_would_take_back_instead(
        self, standing: dict[str, str], wanted: dict[str, str], set_aside: bool
    ) -> None:
        images = (amphora(1, tagged=True, **standing), amphora(2, **wanted))
        assert bool(promoting("amphora-0002", *images).set_aside) is set_aside
        assert promoting("amphora-0002", *images, recipe=None).set_aside == ()

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
        with pytest.raises(PublishError, match="Octavia would take amphora-0009"):
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
        with pytest.raises(PublishError, match="Octavia would take charm-2"):
            promoting("amphora-0001", *images)
        adopting = Target(publish=PublishSettings(adopt=True))
        assert promoting("amphora-0001", *images, target=adopting).image.id == "amphora-0001"


class TestRollback:
    def test_goes_to_the_last_usable_image_that_served_before(self) -> None:
        images = [
            amphora(1, promoted_before=True),
            amphora(2, promoted_before=True),
            amphora(3, promoted_before=True, hash_value="other"),
            amphora(4, promoted_before=True, properties=SET_ASIDE),
            amphora(5),
            amphora(6, tagged=True),
            amphora(7, promoted_before=True),
        ]
        wanted = going_back(*images)
        assert wanted.image.id == "amphora-0002"
        assert {"amphora-0006", "amphora-0007"} <= ids(wanted.set_aside)

    def test_goes_to_a_named_older_image_even_one_that_was_set_aside(self) -> None:
        images = (amphora(1, properties=SET_ASIDE), amphora(2, tagged=True))
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
        images = (amphora(1), amphora(2, tagged=True), amphora(3, properties=SET_ASIDE))
        assert going_back(*images, to="amphora-0002").changes_nothing
