"""What is decided, word for word: reports, notifications and the page show these sentences."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from retrofit.config import BuildSettings, Target
from retrofit.model import Image, Source
from retrofit.plan.backoff import FailedBuild, inputs_of
from retrofit.plan.decision import Decision, decide
from retrofit.plan.inventory import Inventory
from tests.unit.images import NOW, OWN, amphora, charm_image, synced

RECIPE = "sha256:0123456789abcdef"
OTHER_RECIPE = "sha256:fedcba9876543210"
TARGET = Target()


def source(version: str = "20260911") -> Source:
    return Source(
        image=synced(version),
        product="com.ubuntu.cloud:server:24.04:amd64",
        version=version,
        os_distro="ubuntu",
        os_version="24.04",
        architecture="x86_64",
    )


def made(number: int, **fields: Any) -> Image:
    return amphora(number, recipe=fields.pop("recipe", RECIPE), **fields)


def decided(
    *images: Image,
    version: str = "20260911",
    force: bool = False,
    target: Target = TARGET,
    failed: FailedBuild | None = None,
) -> Decision:
    inventory = Inventory(images=images, own_project=OWN, now=NOW)
    return decide(inventory, target, source(version), recipe=RECIPE, force=force, failed=failed)


def builds(*reasons: str, notes: tuple[str, ...] = ()) -> Decision:
    return Decision(build=True, promote=None, reasons=reasons, notes=notes)


def rests(*notes: str) -> Decision:
    return Decision(build=False, promote=None, reasons=(), notes=notes)


def test_what_is_current_rests() -> None:
    assert decided(made(1, tagged=True)) == rests()


def test_an_older_source_rests_with_a_note_and_is_built_by_force_with_the_same() -> None:
    note = (
        "the best source now is com.ubuntu.cloud:server:24.04:amd64 20260910, behind that of the"
        " promoted image amphora-0001 (20260910 is older than 20260911): check that the"
        " synchroniser runs"
    )
    standing = made(1, tagged=True)
    assert decided(standing, version="20260910") == rests(note)
    assert decided(standing, version="20260910", force=True) == builds("forced", notes=(note,))


def test_the_charms_image_counts_only_where_none_of_ours_is_promoted() -> None:
    note = (
        "image charm-1 of the octavia-diskimage-retrofit charm holds source version 20260911:"
        " nothing built; --force builds and verifies one of ours"
    )
    assert decided(charm_image(1)) == rests(note)
    standing = made(1, tagged=True, version="20260910")
    assert decided(standing, charm_image(2)) == builds("new source version 20260911 (was 20260910)")


def test_an_image_that_was_made_already_is_promoted() -> None:
    unused = made(2)
    assert decided(made(1, tagged=True, version="20260910"), unused) == Decision(
        build=False,
        promote=unused,
        reasons=(
            "new source version 20260911 (was 20260910)",
            "image amphora-0002 was already built and verified from this source and recipe",
        ),
        notes=(),
    )


def test_a_failed_build_holds_the_next_one_back() -> None:
    failed = FailedBuild(
        inputs=inputs_of(source(), RECIPE),
        count=1,
        last_at=NOW,
        code="build",
        message="it failed",
        run_id="run",
    )
    assert decided(failed=failed) == Decision(
        build=False,
        promote=None,
        reasons=("no amphora image of this target is promoted",),
        notes=(),
        held_back=failed,
    )


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (
            made(1, tagged=True, recipe=OTHER_RECIPE),
            "recipe changed from sha256:fedcba987654 to sha256:0123456789ab",
        ),
        (
            made(1, tagged=True, properties={"retrofit_recipe": None}),
            "recipe changed from unknown to sha256:0123456789ab",
        ),
        (
            made(1, tagged=True, properties={"source_product_name": "custom"}),
            "source product changed from custom to com.ubuntu.cloud:server:24.04:amd64",
        ),
        (
            made(1, tagged=True, properties={"retrofit_source_hash": "sha512:other:sha512"}),
            "the bytes of source version 20260911 changed",
        ),
        (
            made(1, tagged=True, hash_value="other"),
            "image amphora-0001 is no longer what was published: 2000 bytes, sha512:other,"
            " published was sha512:image-1",
        ),
        (
            made(1, tagged=True, hidden=True, recipe=OTHER_RECIPE),
            "image amphora-0001 carries the tag but is hidden: Octavia cannot use it",
        ),
        (
            made(1, tagged=True, status="deactivated"),
            "image amphora-0001 carries the tag but is deactivated: Octavia cannot use it",
        ),
        (
            made(1, recipe=OTHER_RECIPE, hidden=True),
            "no amphora image of this target is promoted",
        ),
    ],
)
def test_a_build_names_its_reason(image: Image, reason: str) -> None:
    assert decided(image) == builds(reason)


def test_an_image_is_too_old_from_the_very_second_on() -> None:
    target = Target(build=BuildSettings(max_age=30))
    for seconds, reasons in (
        (-1, ()),
        (0, ("image amphora-0001 of 2026-10-23 is older than 30 days (build.max_age)",)),
    ):
        age = timedelta(days=30, seconds=seconds)
        image = made(1, tagged=True, created_at=NOW - age)
        assert decided(image, target=target).reasons == reasons


def test_an_image_of_another_distribution_tag_is_not_hidden_for_its_own_tag() -> None:
    """Only what carries the tag of this target is said to carry it."""
    image = made(1, hidden=True, recipe=OTHER_RECIPE, tags=frozenset({"another"}))
    assert decided(image).reasons == ("no amphora image of this target is promoted",)


def test_an_image_that_is_too_old_itself_is_not_promoted_instead_of_a_build() -> None:
    target = Target(build=BuildSettings(max_age=30))
    old = made(1, created_at=NOW - timedelta(days=31))
    assert decided(old, target=target) == builds("no amphora image of this target is promoted")
