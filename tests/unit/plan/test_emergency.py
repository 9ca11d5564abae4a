"""Octavia finds no image: which one comes back by itself, and which only by a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from retrofit.config import Target
from retrofit.model import Image
from retrofit.plan import Inventory, emergency
from retrofit.plan.authorship import PROMOTED_BY, REJECTED_BY, Authorship, authorship
from retrofit.plan.emergency import paused_emergency, reason
from retrofit.plan.orders import ordered_since
from tests.unit.images import NOW, OWN, amphora, charm_image

TARGET = Target()
REJECTED = {"retrofit_rejected_at": "2026-11-20T00:00:00+00:00"}


def inventory(*images: Image) -> Inventory:
    return Inventory(images=images, own_project=OWN, now=NOW)


def candidates(*images: Image) -> list[str]:
    found = emergency(inventory(*images), TARGET)
    assert found is not None
    return [image.id for image in found.candidates]


def demoted(number: int, **fields: Any) -> Image:
    marks = {
        "retrofit_promoted_at": "2026-11-01T00:00:00+00:00",
        "retrofit_demoted_at": "2026-11-10T00:00:00+00:00",
    }
    return amphora(
        number, hidden=True, properties={**marks, **fields.pop("properties", {})}, **fields
    )


def test_there_is_none_while_octavia_finds_an_image_or_nothing_was_ever_made() -> None:
    for images in ([], [amphora(1, tagged=True)], [demoted(1), charm_image(2)]):
        assert emergency(inventory(*images), TARGET) is None
    theirs = replace(charm_image(2), owner="somebody-else")
    assert emergency(inventory(demoted(1), theirs), TARGET) is not None


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        (amphora(3, tagged=True, hidden=True), "image amphora-0003 is hidden, and not by retrofit"),
        (
            amphora(3, promoted_before=True),
            "image amphora-0003 is without its tag, and not by retrofit",
        ),
        (demoted(3), "none is promoted, and none carries the tag"),
    ],
)
def test_what_another_hand_took_comes_first_and_older_ones_after_it(lost: Image, why: str) -> None:
    assert candidates(lost, demoted(2), demoted(1)) == [
        "amphora-0003",
        "amphora-0002",
        "amphora-0001",
    ]
    found = emergency(inventory(lost, demoted(2)), TARGET)
    assert found is not None
    assert found.why == why


def test_the_time_of_the_change_is_named_where_glance_shows_it() -> None:
    lost = replace(
        amphora(1, tagged=True, hidden=True), updated_at=datetime(2026, 11, 3, tzinfo=UTC)
    )
    found = emergency(inventory(lost), TARGET)
    assert found is not None
    assert "last changed at 2026-11-03T00:00:00+00:00" in found.sentence()


def test_rejected_and_less_verified_images_wait_for_a_person_each_with_its_command() -> None:
    offline = {"retrofit_verification": "offline"}
    found = emergency(
        inventory(
            demoted(5, properties=REJECTED),
            demoted(4, properties=offline),
            demoted(3, hash_value="others"),
            replace(demoted(2), status="deactivated"),
        ),
        TARGET,
    )
    assert found is not None
    assert found.candidates == ()
    assert found.exceptions == (
        "image amphora-0005 is rejected: only a person promotes it, by"
        " `retrofit promote amphora-0005`",
        'image amphora-0004 was verified as "offline", verify.level is "full": only a person'
        " promotes it, by `retrofit promote amphora-0004`",
    )


def test_an_unfinished_upload_is_no_image() -> None:
    assert emergency(inventory(replace(amphora(1), status="saving")), TARGET) is None


def test_a_pause_leaves_two_commands() -> None:
    found = emergency(inventory(amphora(1, tagged=True, hidden=True)), TARGET)
    assert found is not None
    said = paused_emergency(found, TARGET)
    assert "`retrofit promote amphora-0001`" in said
    assert "`retrofit --target default resume`" in said


def test_the_reason_names_what_became_of_the_image() -> None:
    hidden = amphora(1, tagged=True, hidden=True)
    assert "hidden, and not by retrofit" in reason(hidden, TARGET)


def order(action: str, at: datetime = NOW) -> Authorship:
    return Authorship(
        at=at, by="ann@c1", run_id="20261122T120000Z-abcdef", action=action, why="bad"
    )


def promoted_by(action: str, number: int = 1) -> Image:
    properties = {"retrofit_promoted_at": NOW.isoformat(), PROMOTED_BY: order(action).as_property()}
    return amphora(number, tagged=True, properties=properties)


def test_an_author_is_read_as_it_was_written() -> None:
    assert authorship(promoted_by("rollback"), PROMOTED_BY, NOW) == order("rollback")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"at": "yesterday"}', "[" * 10_000, "null"])
def test_an_author_of_another_form_or_change_is_none(text: str) -> None:
    image = amphora(1, properties={PROMOTED_BY: text})
    assert authorship(image, PROMOTED_BY, NOW) is None
    assert authorship(promoted_by("run"), PROMOTED_BY, datetime(2026, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("action", "stands"),
    [("promote", True), ("rollback", True), ("run", False), ("repair", False)],
)
def test_only_what_a_person_ordered_since_stands(action: str, stands: bool) -> None:
    before = inventory(amphora(1))
    now = inventory(promoted_by(action))
    assert (ordered_since(before, now, TARGET) is not None) == stands
    assert ordered_since(now, now, TARGET) is None


def test_a_rejection_is_an_order_as_well() -> None:
    properties = {
        "retrofit_rejected_at": NOW.isoformat(),
        REJECTED_BY: order("rollback").as_property(),
    }
    now = inventory(amphora(2, properties=properties), amphora(1, tagged=True))
    assert ordered_since(inventory(amphora(2)), now, TARGET) == order("rollback")
