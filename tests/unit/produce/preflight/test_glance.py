"""What Glance shows of quota and clock before a build, and what it refuses of records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retrofit.cloud import Removal
from retrofit.cloud.clock import compared
from retrofit.cloud.glance import Quota
from retrofit.config import PublishSettings, Target
from retrofit.errors import BuildError, PublishError
from retrofit.model import Image, Source, StreamItem
from retrofit.produce.preflight.glance import (
    expected_size,
    trial_attributes,
    try_clock,
    try_quota,
    try_record,
)
from retrofit.produce.preflight.tries import DoubtError
from retrofit.publish.properties import AT_CREATION, LATER
from retrofit.system.sizes import MEBIBYTE
from tests.model.memory_glance import MemoryGlance
from tests.model.world import World
from tests.unit.images import OWN

PRODUCT = "com.ubuntu.cloud:server:24.04:amd64"
SOURCE = Source(
    product=PRODUCT,
    version="20260911",
    os_distro="ubuntu",
    os_version="24.04",
    architecture="x86_64",
    item=StreamItem(
        product=PRODUCT, version="20260911", name="disk1.img", ftype="disk1.img", path="x",
        url="http://mirror.example/x", size=700 << 20, sha256="a" * 64,
    ),
)  # fmt: skip


class Refusing(MemoryGlance):
    """A Glance that refuses attributes by their names or values, or companions."""

    def __init__(self, world: World, *words: str) -> None:
        super().__init__(world)
        self.words = words
        self.made: list[Mapping[str, Any]] = []

    def create(self, attributes: Mapping[str, Any]) -> Image:
        self.made.append(attributes)
        for word in self.words:
            if word in attributes or word in attributes.values():
                raise PublishError(f"Glance forbids it: {word}", hint="see Glance's log")
        return super().create(attributes)


def attributes_of(target: Target) -> Any:
    def attributes(image_id: str) -> dict[str, Any]:
        return trial_attributes(
            target,
            SOURCE,
            image_id=image_id,
            project_id=OWN,
            recipe="r" * 64,
            run_id="20261127T050000Z-000000",
            host="host",
            state_id="s",
        )

    return attributes


def tried(glance: MemoryGlance, **publish: Any) -> str:
    target = Target(publish=PublishSettings(**publish))
    return try_record(glance, target, attributes_of(target))  # type: ignore[arg-type]


def test_a_record_has_all_that_an_image_gets_and_is_gone_afterwards() -> None:
    world = World(0)
    glance = Refusing(world)
    changes: list[str] = []
    glance._checker = lambda what, _before, after: changes.append(
        f"{what} {','.join(sorted(after.tags)) if after else ''}"
    )
    tried(glance, former_tags=("old",), properties={"hw_x": "y"}, visibility="shared")
    record, companion = glance.made[-2:]
    assert record["visibility"] == "shared"
    assert record["hw_x"] == "y"
    assert record.keys() >= AT_CREATION.keys()
    assert (companion["visibility"], companion["os_hidden"]) == ("private", True)
    for name in (
        "retrofit_target",
        "retrofit_installation",
        "retrofit_run_id",
        "retrofit_state_id",
    ):
        assert companion[name] == record[name]
    assert companion["retrofit_image_id"] == companion["id"] != record["id"]
    assert "tag octavia-amphora,old" in changes
    assert world.images == {}


def test_later_properties_are_tried_but_for_the_pause() -> None:
    seen: dict[str, Any] = {}
    glance = Refusing(World(0))
    update = glance.update

    def remember(image_id: str, changes: Mapping[str, Any]) -> None:
        seen.update(changes)
        update(image_id, changes)

    glance.update = remember  # type: ignore[method-assign, assignment]
    tried(glance)
    assert seen.keys() == LATER.keys() - {"retrofit_paused"}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("hw_bad",), "Glance refuses publish.properties.hw_bad = 'x': "),
        (("shared",), "Glance refuses publish.visibility = 'shared': "),
        (("hw_bad", "shared"), "publish.properties.hw_bad = 'x', publish.visibility = 'shared'"),
        (("retrofit_run_id",), "Glance forbids it: retrofit_run_id"),
    ],
)
def test_the_setting_that_is_refused_is_named(words: tuple[str, ...], named: str) -> None:
    world = World(0)
    with pytest.raises(PublishError) as told:
        tried(
            Refusing(world, *words),
            properties={"hw_bad": "x", "hw_good": "x"},
            visibility="shared",
        )
    assert named in told.value.message
    assert "hw_good" not in told.value.message
    assert told.value.hint
    assert world.images == {}


def test_no_place_for_evidence_is_no_reason_to_stop() -> None:
    world = World(0)
    with pytest.raises(DoubtError, match="no place for the evidence"):
        tried(Refusing(world, "os_hidden"))
    assert world.images == {}


def test_records_that_glance_keeps_are_named_and_no_others_follow() -> None:
    world = World(0)
    glance = Refusing(world)
    glance.delete = lambda _: Removal.REFUSED  # type: ignore[method-assign, assignment]
    with pytest.raises(PublishError, match="does not delete record"):
        tried(glance, properties={"hw_x": "x", "hw_y": "y"}, visibility="shared")
    assert len(world.images) == len(glance.made) == 2


@pytest.mark.parametrize("fails", ["unreachable", "refused"])
def test_after_a_refusal_a_record_that_glance_keeps_is_the_last(
    monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    world = World(0)
    glance = Refusing(world)

    def delete(_: str) -> Removal:
        if fails == "refused":
            return Removal.REFUSED
        raise PublishError("gone away")

    def tag(*_: str) -> None:
        raise PublishError("Glance forbids tags")

    monkeypatch.setattr(glance, "delete", delete)
    monkeypatch.setattr(glance, "tag", tag)
    with pytest.raises(PublishError, match="Glance forbids tags"):
        tried(glance, properties={"hw_x": "x"})
    assert len(world.images) == len(glance.made) == 1


def test_the_search_for_a_setting_ends_with_a_record_that_glance_keeps() -> None:
    world = World(0)
    glance = Refusing(world, "hw_bad")

    def delete(_: str) -> Removal:
        return Removal.REFUSED

    glance.delete = delete  # type: ignore[method-assign, assignment]
    with pytest.raises(PublishError, match="Glance forbids it: hw_bad"):
        tried(glance, properties={"hw_bad": "x", "hw_good": "x"})
    assert len(world.images) <= 1


class Quotas(MemoryGlance):
    def __init__(self, **quotas: Quota) -> None:
        super().__init__(World(0))
        self._quotas = quotas

    def quotas(self) -> dict[str, Quota]:
        return self._quotas


def test_a_full_quota_fails_and_a_small_one_warns() -> None:
    expected = 600 * MEBIBYTE
    for quotas in ({}, {"image_size_total": Quota(limit=-1, used=5)}):
        assert "no limit" in try_quota(Quotas(**quotas), expected=expected)  # type: ignore[arg-type]
    enough = Quotas(image_size_total=Quota(limit=1000, used=400))
    assert "400 MiB of 1000 MiB" in try_quota(enough, expected=expected)  # type: ignore[arg-type]
    small = Quotas(image_size_total=Quota(limit=1000, used=401))
    with pytest.raises(DoubtError, match="the image may have 600 MiB"):
        try_quota(small, expected=expected)  # type: ignore[arg-type]
    full = Quotas(image_size_total=Quota(limit=1000, used=1000))
    with pytest.raises(PublishError, match="is full"):
        try_quota(full, expected=expected)  # type: ignore[arg-type]
    assert expected_size(SOURCE) == 1050 << 20


@pytest.mark.parametrize(
    ("offset", "error"),
    [
        (timedelta(minutes=5), None),
        (timedelta(minutes=-20), DoubtError),
        (timedelta(hours=11), DoubtError),
        (timedelta(hours=13), BuildError),
        (timedelta(days=-1), BuildError),
        (timedelta(days=4000), BuildError),
    ],
)
def test_a_clock_that_is_far_off_fails(offset: timedelta, error: type[Exception] | None) -> None:
    class There(MemoryGlance):
        def clock(self) -> Any:
            now = datetime.now(UTC)
            return compared(now - offset, now, server="Glance")

    if error is None:
        assert try_clock(There(World(0))).startswith("within ")  # type: ignore[arg-type]
        return
    with pytest.raises(error, match="the clock of this machine is") as told:
        try_clock(There(World(0)))  # type: ignore[arg-type]
    assert "NTP" in (getattr(told.value, "hint", "") or "")
