"""Two installations of 0.1.0 in one project, as 0.1.0 itself leaves them: whose is which image?

Both call their target "default", and 0.1.0 takes all images of that name for its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.devcloud.files import make_tiny
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.octavia import ImageManager
from tests.integration.harness import NOT_FRESH, TAG, CloudHarness
from tests.upgrade.release import Release
from tests.upgrade.world import OldMachine, reports_of

STAGING = "octavia-amphora-staging"
OLD_RULES = "[publish]\nhide = false\nretire_after = 0\nretire_unasked_after = 0\n"
RULES = OLD_RULES.replace("retire_unasked_after", "retire_after_unknown")
LEVEL = '[verify]\nlevel = "offline"\n'


@dataclass
class Two:
    """Both machines, and the image that each of them promoted last."""

    production: CloudHarness
    staging: CloudHarness
    images: dict[str, str]
    machines: tuple[OldMachine, OldMachine]


def tagged_as(tag: str, rules: str) -> str:
    return f'{rules}tag = "{tag}"\n{LEVEL}'


@pytest.fixture
def two(release: Release, devcloud: Devcloud, tmp_path: Path) -> Iterator[Two]:
    devcloud.delete_all_images()
    with ImageManager(devcloud.running) as manager:
        sites: list[CloudHarness] = []
        machines: list[OldMachine] = []
        images: dict[str, str] = {}
        for name, tag in (("production", TAG), ("staging", STAGING)):
            harness = CloudHarness(
                site=devcloud,
                manager=manager,
                directory=tmp_path,
                make_image=lambda path: make_tiny(path, mark=str(path)),
                toml=tagged_as(tag, OLD_RULES),
                machine=name,
                tags={"default": tag},
                freshness_toml="",
            )
            old = OldMachine(
                release=release,
                harness=harness,
                config=harness.config.rename(tmp_path / f"{name}-0.1.0.toml"),
            )
            harness.source("20260901" if name == "production" else "20260908")
            images[name] = reports_of(old.give("run-once"))[0]["image_id"]
            harness.toml = tagged_as(tag, RULES)
            harness.freshness_toml = NOT_FRESH
            sites.append(harness)
            machines.append(old)
        try:
            yield Two(sites[0], sites[1], images, (machines[0], machines[1]))
        finally:
            for old in machines:
                old.end()
    devcloud.delete_all_images()


def test_nothing_is_touched_until_an_operator_adopts(two: Two) -> None:
    production, staging = two.production, two.staging
    ours, theirs = two.images["production"], two.images["staging"]
    plan = production.retrofit("plan", "-o", "json", exit_code=2)
    assert plan.document["carry_over"] == []
    assert f"retrofit --target default adopt {ours}" in plan.stderr
    before = production.everything()
    for command in (("run-once",), ("run-once", "--force"), ("promote", theirs, "--yes")):
        production.retrofit(*command, exit_code=None)
    assert production.retrofit("run-once", exit_code=2).stdout
    assert production.everything() == before
    listed: dict[str, Any] = {each["id"]: each for each in production.read("list")}
    assert STAGING in listed[ours]["remark"]
    assert listed[theirs]["state"] is None

    report = production.retrofit("adopt", "--yes", "-o", "json").document
    assert (report["outcome"], report["adopted"]) == ("adopted", [ours])
    assert production.everything()[theirs] == before[theirs]
    staged = staging.retrofit("adopt", theirs, "--yes", "-o", "json").document
    assert staged["adopted"] == [theirs]

    # From here on each has its own, and Octavia finds the newest of each.
    staging.source("20260915")
    assert reports_of(staging.act("run-once"))[0]["outcome"] == "published"
    assert production.octavia(TAG) == ours
    (report,) = reports_of(production.act("run-once"))
    assert report["outcome"] == "published"
    assert (report["demoted"], production.octavia(STAGING)) == ([ours], staging.octavia(STAGING))


def test_one_that_adopts_what_0_1_0_may_go_on_with(two: Two) -> None:
    """The way back: an adopted image is promoted and current for 0.1.0 as it was before."""
    ours = two.images["production"]
    two.production.retrofit("adopt", ours, "--yes")
    two.staging.retrofit("adopt", two.images["staging"], "--yes")
    before = two.production.everything()
    back = two.machines[1].give("plan")
    assert back["promoted"] == two.images["staging"]
    assert two.production.everything() == before
