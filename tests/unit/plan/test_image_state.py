"""The state of an image, against what each question about it meant when it was asked by itself."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.config import Target
from retrofit.model import UNFINISHED, Image
from retrofit.plan import is_eligible, is_usable, is_whole
from retrofit.plan.image_state import (
    REJECTED_STATES,
    SERVING_STATES,
    ImageState,
    image_state,
    image_state_rows,
    is_rejected,
    rejected_at,
    rejection,
)
from tests.unit.images import NOW, amphora

TARGET = Target()
TAG = TARGET.publish.tag
EARLIER, LATER = (NOW - timedelta(days=days) for days in (3, 1))
MARKS = ("retrofit_promoted_at", "retrofit_demoted_at", "retrofit_rejected_at")
OLD_MARKS = (*MARKS[:2], "retrofit_set_aside_at")


def image(
    *,
    status: str = "active",
    whole: bool = True,
    hidden: bool = False,
    tagged: bool = False,
    promoted: bool = False,
    demoted: bool = False,
    rejected: bool = False,
    names: tuple[str, ...] = MARKS,
) -> Image:
    given = zip(names, (promoted, demoted, rejected), strict=True)
    return amphora(
        1,
        status=status,
        hidden=hidden,
        tagged=tagged,
        promoted_before=False,
        properties={name: EARLIER.isoformat() for name, is_set in given if is_set},
        **({} if whole else {"hash_value": "other"}),
    )


def every_image() -> list[Image]:
    statuses = (*UNFINISHED, "active", "deactivated", "killed", "pending_delete")
    flags = ("whole", "hidden", "tagged", "promoted", "demoted", "rejected")
    return [
        image(status=status, names=names, **dict(zip(flags, values, strict=True)))
        for status in statuses
        for names in (MARKS, OLD_MARKS)
        for values in itertools.product((False, True), repeat=len(flags))
    ]


def is_marked(one: Image) -> bool:
    return any(one.property(name) for name in (MARKS[2], OLD_MARKS[2]))


def is_untagged(one: Image) -> bool:
    promoted, demoted = one.property("retrofit_promoted_at"), one.property("retrofit_demoted_at")
    return TAG not in one.tags and bool(promoted) and not demoted


def test_every_combination_has_the_one_state_that_each_question_agrees_with() -> None:
    for one in every_image():
        check_state(one)


def check_state(one: Image) -> None:
    state = image_state(one, TARGET)
    assert (state is ImageState.UNFINISHED) == (one.status in UNFINISHED)
    if one.status in UNFINISHED:
        return
    eligible, usable = is_eligible(one, TAG), is_usable(one)
    assert (state in SERVING_STATES) == eligible
    assert (state in REJECTED_STATES) == (is_marked(one) or is_untagged(one))
    assert (state is ImageState.DEMOTION_PENDING) == (eligible and is_marked(one))
    assert (state is ImageState.UNTAGGED) == (is_untagged(one) and not is_marked(one))
    assert (state is ImageState.PROMOTED) == (eligible and is_whole(one) and not is_marked(one))
    if usable and not is_marked(one) and not eligible:
        assert (state is ImageState.HIDDEN) == (one.hidden and TAG in one.tags)
    if not usable and not eligible and not is_marked(one) and not is_untagged(one):
        assert state is ImageState.UNUSABLE
    if state in {ImageState.DEMOTED, ImageState.READY}:
        assert usable
        assert TAG not in one.tags
        assert not is_marked(one)
    stood = bool(one.property("retrofit_promoted_at") or one.property("retrofit_demoted_at"))
    assert state is not ImageState.READY or not stood
    assert state is not ImageState.DEMOTED or stood


def test_every_state_is_one_of_some_image_and_a_row_of_the_table() -> None:
    assert {image_state(one, TARGET) for one in every_image()} == set(ImageState)
    rows = image_state_rows()
    assert [row[0] for row in rows] == [str(state) for state in ImageState]
    assert all(text.strip() for row in rows for text in row)
    assert len({row[1] for row in rows}) == len(rows)


texts = st.none() | st.text(max_size=30) | st.datetimes().map(str)


@given(
    status=st.sampled_from(sorted(UNFINISHED)) | st.text(max_size=12),
    tags=st.frozensets(st.sampled_from([TAG, "other", ""])),
    hidden=st.booleans(),
    marks=st.dictionaries(st.sampled_from([*MARKS, OLD_MARKS[2], "retrofit_image_hash"]), texts),
)
def test_no_property_that_anybody_can_set_leaves_an_image_without_state(
    status: str, tags: frozenset[str], hidden: bool, marks: dict[str, str | None]
) -> None:
    kept = {key: value for key, value in marks.items() if value is not None}
    one = amphora(1, status=status, tags=tags, hidden=hidden, properties=kept)
    assert image_state(one, TARGET) in ImageState


class TestRejection:
    """A mark that 0.1.0 knows by another name."""

    @pytest.mark.parametrize(
        ("properties", "rejected"),
        [
            ({}, False),
            ({"retrofit_set_aside_at": EARLIER.isoformat()}, True),
            ({"retrofit_rejected_at": EARLIER.isoformat()}, True),
            ({"retrofit_set_aside_at": "", "retrofit_rejected_at": ""}, False),
            ({"retrofit_set_aside_at": "unreadable"}, True),
            ({"retrofit_rejected_at": "unreadable"}, True),
            # As every rollback of ours leaves it.
            (
                {
                    "retrofit_promoted_at": EARLIER.isoformat(),
                    "retrofit_rejected_at": LATER.isoformat(),
                    "retrofit_set_aside_at": LATER.isoformat(),
                },
                True,
            ),
            # A machine of 0.1.0 promoted it since, and removed the mark that it knows.
            (
                {
                    "retrofit_rejected_at": EARLIER.isoformat(),
                    "retrofit_promoted_at": LATER.isoformat(),
                },
                False,
            ),
            # And rejected it once more.
            (
                {
                    "retrofit_rejected_at": EARLIER.isoformat(),
                    "retrofit_promoted_at": LATER.isoformat(),
                    "retrofit_set_aside_at": LATER.isoformat(),
                },
                True,
            ),
        ],
    )
    def test_is_read_by_either_name(self, properties: dict[str, str], rejected: bool) -> None:
        assert is_rejected(amphora(1, properties=properties)) is rejected

    def test_is_written_and_removed_by_both_names(self) -> None:
        changes = rejection(LATER)
        assert changes.keys() == rejection(None).keys()
        for name in ("retrofit_rejected_at", "retrofit_set_aside_at"):
            assert changes[name] == LATER.isoformat()
            assert rejection(None)[name] is None

    def test_counts_from_the_later_of_the_two(self) -> None:
        both = {
            "retrofit_rejected_at": EARLIER.isoformat(),
            "retrofit_set_aside_at": LATER.isoformat(),
        }
        assert rejected_at(amphora(1, properties=both)) == LATER
        assert rejected_at(amphora(1)) is None
