"""The Glance in memory does what Glance was measured to do, so that tests on it mean something."""

from __future__ import annotations

import hashlib
import inspect
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrofit.cloud import Glance, Removal
from retrofit.errors import CloudError, SourceVanishedError
from retrofit.plan import octavia_order
from tests.model.memory_glance import Fault, KilledError, MemoryGlance
from tests.model.world import World
from tests.unit.images import OWN

TAG = "octavia-amphora"


def test_has_the_interface_of_ours() -> None:
    for name, method in inspect.getmembers(Glance, inspect.isfunction):
        if not name.startswith("_"):
            theirs = inspect.signature(getattr(MemoryGlance, name)).parameters.values()
            ours = inspect.signature(method).parameters.values()
            assert [(p.name, p.kind, p.default) for p in theirs] == [
                (p.name, p.kind, p.default) for p in ours
            ], name


def test_an_image_is_active_and_hashed_once_it_has_its_bytes(tmp_path: Path) -> None:
    glance = MemoryGlance(World())
    path = tmp_path / "disk"
    path.write_bytes(b"disk")
    record = glance.create({"name": "a", "container_format": "bare", "retrofit_target": "default"})
    assert (record.status, record.size, record.hash_value) == ("queued", None, None)
    image = glance.upload(record, path)
    assert image == glance.get(record.id)
    assert (image.status, image.size) == ("active", 4)
    assert image.hash_value == hashlib.sha512(b"disk").hexdigest()
    assert image.created_at == record.created_at
    assert image.properties == {"retrofit_target": "default"}


def test_created_at_is_in_whole_seconds_and_ties_go_to_the_greater_id() -> None:
    world = World()
    world.now = datetime(2026, 11, 1, 0, 0, 7, 900_000, tzinfo=UTC)
    made = [world.add(b"x", tags=frozenset({TAG})) for _ in range(5)]
    assert {image.created_at for image in made} == {datetime(2026, 11, 1, 0, 0, 7, tzinfo=UTC)}
    taken = MemoryGlance(world).octavia_image(TAG)
    assert taken is not None
    assert taken.id == max(image.id for image in made) == max(made, key=octavia_order).id


def test_octavia_takes_no_hidden_unfinished_deactivated_or_untagged_image() -> None:
    world = World()
    able = world.add(b"x", tags=frozenset({TAG}))
    world.now = datetime(2027, 1, 1, tzinfo=UTC)
    world.add(b"x", tags=frozenset({TAG}), hidden=True)
    world.add(tags=frozenset({TAG}))
    world.change(world.add(b"x", tags=frozenset({TAG})).id, status="deactivated")
    world.add(b"x")
    foreign = world.add(b"x", tags=frozenset({TAG}), owner="tenant")
    glance = MemoryGlance(world)
    assert glance.octavia_image(TAG, owner=OWN) == able
    assert glance.octavia_image(TAG) == foreign  # Octavia asks as an administrator


def test_lists_by_owner_tag_and_property_and_hidden_ones_only_where_asked() -> None:
    world = World()
    seen = world.add(b"x", tags=frozenset({TAG}), properties={"retrofit_target": "default"})
    hidden = world.add(properties={"retrofit_target": "default"}, hidden=True)
    world.add(b"x", owner="tenant", properties={"retrofit_target": "default"})
    glance = MemoryGlance(world)
    of_ours = {"retrofit_target": "default", "owner": OWN}
    assert {image.id for image in glance.list(of_ours)} == {seen.id, hidden.id}
    assert [image.id for image in glance.list(of_ours, hidden=False)] == [seen.id]
    assert [image.id for image in glance.list({"tag": [TAG]})] == [seen.id]
    assert glance.list({"tag": [TAG, "other"]}) == []


def test_changes_of_what_is_gone_fail_but_untagging_and_deleting_it() -> None:
    glance = MemoryGlance(World())
    with pytest.raises(CloudError):
        glance.tag("gone", TAG)
    with pytest.raises(CloudError):
        glance.update("gone", {"retrofit_promoted_at": "now"})
    glance.untag("gone", TAG)
    assert glance.delete("gone") is Removal.GONE
    assert glance.get("gone") is None


def test_deletes_neither_a_protected_image_nor_one_that_the_store_still_needs() -> None:
    world = World()
    protected, needed, free = world.add(b"x", protected=True), world.add(b"x"), world.add(b"x")
    world.in_use_in_store = {needed.id}
    glance = MemoryGlance(world)
    assert glance.delete(protected.id) is Removal.REFUSED
    assert glance.delete(needed.id) is Removal.IN_USE
    assert glance.delete(free.id) is Removal.DELETED
    assert set(world.images) == {protected.id, needed.id}


def test_properties_are_set_and_removed_one_by_one() -> None:
    world = World()
    image = world.add(b"x", properties={"a": "1", "b": "2"})
    MemoryGlance(world).update(image.id, {"a": None, "c": "3", "os_hidden": True})
    assert world.images[image.id].properties == {"b": "2", "c": "3"}
    assert world.images[image.id].hidden


def test_a_source_that_vanishes_says_so(tmp_path: Path) -> None:
    world = World()
    source = world.add(b"x")
    del world.images[source.id]
    with pytest.raises(SourceVanishedError):
        MemoryGlance(world).download(source, tmp_path / "disk")


FAULTS = [
    ("killed", KilledError, False),
    ("killed, after it", KilledError, True),
    ("interrupted", KeyboardInterrupt, False),
    ("interrupted, after it", KeyboardInterrupt, True),
    ("answer lost", CloudError, True),
    ("outage", CloudError, False),
]


@pytest.mark.parametrize(("kind", "error", "done"), FAULTS)
def test_faults_strike_at_their_call(kind: str, error: type[BaseException], done: bool) -> None:
    world = World()
    image = world.add(b"x")
    glance = MemoryGlance(world, fault=Fault(at=1, kind=kind))
    assert glance.get(image.id) == image
    with pytest.raises(error):
        glance.tag(image.id, TAG)
    assert (TAG in world.images[image.id].tags) is done
    if kind.startswith("killed"):
        with pytest.raises(KilledError):
            glance.get(image.id)
    elif kind == "outage":
        with pytest.raises(CloudError):
            glance.get(image.id)
    else:
        assert glance.get(image.id) is not None
    assert {one for one, _, _ in FAULTS} == set(Fault.KINDS)
