"""A file becomes an image of ours, whole, or nothing; each attempt has a record of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retrofit.errors import CloudError, PublishError, RetrofitError
from retrofit.model import Image
from retrofit.publish.upload import upload
from tests.model.memory_glance import Fault, KilledError, MemoryGlance
from tests.model.world import World

CALLS = range(3)
"""To create, and to begin and to end an upload."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "amphora"
    file.write_bytes(b"an image")
    return file


def attributes(image_id: str) -> dict[str, str]:
    return {
        "id": image_id,
        "name": "amphora",
        "retrofit_target": "default",
        "retrofit_image_id": image_id,
    }


def whole(world: World) -> bool:
    """Whether there is one image, active and with the right bytes."""
    return [world.content.get(image.id) for image in world.images.values()] == [b"an image"] and [
        image.status for image in world.images.values()
    ] == ["active"]


@pytest.mark.parametrize("call", CALLS)
def test_a_lost_answer_costs_one_record_and_no_image(path: Path, call: int) -> None:
    world = World()
    glance = MemoryGlance(world, fault=Fault(at=call, kind="answer lost"))
    image = upload(glance, attributes, path, retries=1)
    assert whole(world)
    assert world.images[image.id].property("retrofit_image_id") == image.id


@pytest.mark.parametrize("call", CALLS)
def test_without_another_attempt_nothing_is_left(path: Path, call: int) -> None:
    world = World()
    glance = MemoryGlance(world, fault=Fault(at=call, kind="answer lost"))
    with pytest.raises(CloudError):
        upload(glance, attributes, path, retries=0)
    assert world.images == {}


@pytest.mark.parametrize("call", CALLS)
def test_an_interruption_leaves_nothing_and_is_not_repeated(path: Path, call: int) -> None:
    world = World()
    glance = MemoryGlance(world, fault=Fault(at=call, kind="interrupted, after it"))
    with pytest.raises(KeyboardInterrupt):
        upload(glance, attributes, path, retries=5)
    assert world.images == {}


def test_what_cannot_pass_is_tried_once(path: Path) -> None:
    world = World()
    glance = MemoryGlance(world, refuses_data=True)
    with pytest.raises(PublishError):
        upload(glance, attributes, path, retries=5)
    assert glance.calls == 5  # the look before the deletion is one
    assert world.images == {}


def test_an_outage_ends_with_its_own_error_and_leaves_the_rest_to_a_sweep(path: Path) -> None:
    world = World()
    glance = MemoryGlance(world, fault=Fault(at=1, kind="outage"))
    with pytest.raises(CloudError, match="connection refused"):
        upload(glance, attributes, path, retries=1)
    assert [image.status for image in world.images.values()] == ["queued"]


def test_a_dead_process_does_nothing_more(path: Path) -> None:
    glance = MemoryGlance(World(), fault=Fault(at=1, kind="killed"))
    with pytest.raises(KilledError):
        upload(glance, attributes, path, retries=5)


def test_an_image_that_cannot_be_finished_is_not_left(path: Path) -> None:
    world = World()

    def finish(_image: Image) -> None:
        raise PublishError("cannot update image")

    with pytest.raises(PublishError, match="cannot update"):
        upload(MemoryGlance(world), attributes, path, retries=5, finish=finish)
    assert world.images == {}


def test_an_image_that_another_machine_promoted_meanwhile_is_left(path: Path) -> None:
    world = World()

    def finish(image: Image) -> None:
        world.change(image.id, tags=frozenset({"octavia-amphora"}))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload(MemoryGlance(world), attributes, path, retries=5, finish=finish)
    assert [image.status for image in world.images.values()] == ["active"]


def test_a_record_that_cannot_be_deleted_hides_no_error(path: Path) -> None:
    world = World()

    class Stubborn(MemoryGlance):
        def delete(self, image_id: str) -> Any:
            raise RetrofitError("cannot delete it")

    with pytest.raises(PublishError, match="quota"):
        upload(Stubborn(world, refuses_data=True), attributes, path, retries=0)
    assert [image.status for image in world.images.values()] == ["saving"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"retrofit_target": "other"}, "retrofit_target"),  # cut by what stands before Glance
        ({"image_type": "snapshot"}, "marks of a snapshot"),  # a plugin of Glance
    ],
)
def test_a_record_that_no_run_would_recognise_ends_the_upload(
    path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], named: str
) -> None:
    world = World()
    glance = MemoryGlance(world)
    create = glance.create

    def changed(attributes: Any) -> Image:
        return create({**attributes, **change})

    monkeypatch.setattr(glance, "create", changed)
    with pytest.raises(PublishError, match=named):
        upload(glance, attributes, path, retries=3)
    assert world.images == {}
