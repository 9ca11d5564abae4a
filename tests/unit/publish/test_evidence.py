"""Evidence is kept beside its image, and goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retrofit.cloud import Removal
from retrofit.config import CloudSettings, Target
from retrofit.errors import CloudError, PublishError
from retrofit.model import Image
from retrofit.plan import Inventory
from retrofit.publish.evidence import delete_evidence, is_orphan, keep_evidence
from retrofit.publish.upload import upload
from tests.model.memory_glance import MemoryGlance
from tests.model.world import World
from tests.unit.images import OWN

TARGET = Target(cloud=CloudSettings(retries=0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "evidence.tar.xz"
    file.write_bytes(b"packages")
    return file


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def glance(world: World) -> MemoryGlance:
    return MemoryGlance(world)


@pytest.fixture
def image(glance: MemoryGlance, path: Path) -> Image:
    def attributes(image_id: str) -> dict[str, str]:
        return {"id": image_id, "name": "amphora", "retrofit_image_id": image_id}

    return upload(glance, attributes, path, retries=0)  # type: ignore[arg-type]


def keep(image: Image, path: Path, glance: Any) -> str:
    return keep_evidence(image, path, TARGET, glance, run_id="run", state_id="state")


def delete(image: Image, world: World, glance: Any) -> None:
    listed = tuple(world.images.values())
    seen = Inventory(images=listed, own_project=OWN, now=world.now)
    delete_evidence(image, seen, TARGET, glance)


def test_evidence_is_hidden_private_untagged_and_no_image_of_0_1(
    world: World, glance: MemoryGlance, image: Image, path: Path
) -> None:
    record = world.images[keep(image, path, glance)]
    assert (record.hidden, record.visibility, record.tags) == (True, "private", frozenset())
    assert "retrofit_target" not in record.properties
    assert world.content[record.id] == b"packages"
    assert world.images[image.id].property("retrofit_evidence_id") == record.id


def test_evidence_goes_with_its_image(
    world: World, glance: MemoryGlance, image: Image, path: Path
) -> None:
    keep(image, path, glance)
    delete(world.images[image.id], world, glance)
    assert [*world.images] == [image.id]


def test_what_is_not_provably_its_evidence_stays(
    world: World, glance: MemoryGlance, image: Image, path: Path
) -> None:
    record = keep(image, path, glance)
    world.change(record, tags=frozenset({"somebody"}))
    delete(world.images[image.id], world, glance)
    world.change(image.id, properties={"retrofit_evidence_id": "gone"})
    delete(world.images[image.id], world, glance)
    assert {*world.images} == {image.id, record}


def test_a_glance_that_deletes_nothing_fails_no_retirement(
    world: World, glance: MemoryGlance, image: Image, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = keep(image, path, glance)
    monkeypatch.setattr(glance, "delete", lambda _: Removal.REFUSED)
    delete(world.images[image.id], world, glance)

    def away(_: str) -> Image:
        raise CloudError("away")

    monkeypatch.setattr(glance, "get", away)
    delete(world.images[image.id], world, glance)
    assert record in world.images


def test_evidence_that_cannot_be_kept_leaves_no_record(
    world: World, image: Image, path: Path
) -> None:
    full = MemoryGlance(world, refuses_data=True)
    with pytest.raises(PublishError):
        keep(image, path, full)
    assert [*world.images] == [image.id]
    assert world.images[image.id].property("retrofit_evidence_id") is None


def test_only_glance_knows_that_an_image_is_gone(
    world: World, glance: MemoryGlance, image: Image, path: Path
) -> None:
    record = world.images[keep(image, path, glance)]
    assert not is_orphan(record, glance)  # type: ignore[arg-type]
    glance.delete(image.id)
    assert is_orphan(record, glance)  # type: ignore[arg-type]
