"""What an operator may adopt, and what not even by a word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from retrofit.config import Target
from retrofit.errors import ConfigError
from retrofit.model import Image
from retrofit.plan import Identity, Inventory, image_state
from retrofit.plan.adoption import adopt_installation, adopt_named, adopt_unproven
from retrofit.plan.identity import IMAGE_ID, installation_id
from retrofit.plan.image_state import DEMOTED_AT, ImageState
from tests.unit.images import NOW, OWN, amphora, synced
from tests.unit.plan.test_identity import copied, old

TARGET = Target()
WHEN = NOW.isoformat()
STAGING = "staging"


def inventory(*images: Image) -> Inventory:
    return Inventory(images=images, own_project=OWN, now=NOW)


def adopted(image: Image) -> Image:
    """The image after it was adopted by its id."""
    (adoption,) = adopt_named(inventory(image), TARGET, [image.id], now=WHEN)
    return replace(image, properties={**image.properties, **adoption.properties})


@pytest.mark.parametrize(
    "image",
    [
        amphora(1, tag=STAGING, tagged=True),
        amphora(1, target="was"),
        copied(amphora(1), 2),
        old(1, properties={"retrofit_verified_at": None}),
    ],
    ids=["of another installation", "of another target", "a whole copy", "of 0.1.0"],
)
def test_an_adopted_image_is_ours(image: Image) -> None:
    now = adopted(image)
    assert inventory(now).ours(TARGET) == [now]
    assert now.property(IMAGE_ID) == now.id
    assert adopt_named(inventory(now), TARGET, [now.id], now=WHEN) == ()


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (synced(id="a"), "was not made by retrofit"),
        (amphora(1, id="a", owner="tenant"), "belongs to project tenant"),
        (copied(amphora(1), 2, id="a", hash_value="of a volume"), "does not hold the bytes"),
        (amphora(1, id="a", status="saving", size=None), "does not hold the bytes"),
        (amphora(1, id="a", properties={"image_type": "snapshot"}), "was not made by retrofit"),
    ],
)
def test_some_are_refused_with_the_reason(image: Image, why: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot adopt a: it {why}") as caught:
        adopt_named(inventory(image), TARGET, [image.id], now=WHEN)
    assert caught.value.hint


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no such image"):
        adopt_named(inventory(amphora(1)), TARGET, ["gone"], now=WHEN)


def test_what_served_another_tag_is_a_demoted_image_and_not_a_rejected_one() -> None:
    now = adopted(amphora(1, tag=STAGING, tagged=True))
    assert now.property(DEMOTED_AT) == WHEN
    assert image_state(now, TARGET) is ImageState.DEMOTED


def test_what_carries_our_tag_stays_promoted() -> None:
    tags = frozenset({"octavia-amphora", STAGING})
    now = adopted(amphora(1, tag=STAGING, tagged=True, tags=tags))
    assert now.property(DEMOTED_AT) is None
    assert image_state(now, TARGET) is ImageState.PROMOTED


def test_an_installation_is_adopted_without_its_copies_and_what_is_not_whole() -> None:
    theirs = amphora(1, tag=STAGING, tagged=True)
    images = [
        theirs,
        copied(theirs, 2),
        amphora(3, tag=STAGING, hash_value="spoilt"),
        amphora(4, tag=STAGING, owner="tenant"),
        amphora(5),
    ]
    found = adopt_installation(inventory(*images), TARGET, installation_id(OWN, STAGING), now=WHEN)
    assert [each.image for each in found] == [theirs]
    assert found[0].properties.items() >= Identity.of(TARGET, OWN).properties_of(theirs.id).items()


def test_without_a_word_of_which_only_what_carries_our_tag_is_adopted() -> None:
    images: list[Any] = [
        old(1, promoted_before=True),
        old(2, tagged=True),
        old(3, tags=frozenset({STAGING})),
        amphora(4, tagged=True),
    ]
    found = adopt_unproven(inventory(*images), TARGET, now=WHEN)
    assert [each.image.id for each in found] == ["amphora-0002"]
