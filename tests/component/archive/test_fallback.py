"""Where the evidence of an image is lost, the image itself answers, and the same is decided."""

from __future__ import annotations

import dataclasses
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from retrofit.archive.agent import Distribution, agent_of
from retrofit.archive.evidence import EvidenceError, digest_of, pack, unpack
from retrofit.archive.offer import Update
from retrofit.config import BuildSettings, Target
from retrofit.model import BuiltImage, Image
from retrofit.observe.freshness import find_evidence, freshness_of
from retrofit.plan.freshness import reasons
from retrofit.produce.evidence import evidence_of, recover_evidence
from retrofit.produce.run import Run
from retrofit.publish.evidence import keep_evidence
from tests.archive.packages import Package
from tests.archive.small_archive import SmallArchive
from tests.component import disks
from tests.model.memory_glance import MemoryGlance
from tests.model.world import World
from tests.unit.images import NOW
from tests.unit.produce.made import made_run

HAPROXY = Package(name="haproxy", version="1.0")
KERNEL = Package(name="linux-image-9", version="1.0")
INSTALLED = (HAPROXY, KERNEL)
TARGET = Target()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return made_run(tmp_path)


@pytest.fixture
def image(world: World, archive: SmallArchive, tmp_path: Path) -> Image:
    """An image of a build from the archive, with its companion; the archive has fixes since."""
    archive.add("noble", *INSTALLED)
    evidence = archive.evidence(*INSTALLED, held=[KERNEL.name])
    files = {**evidence.files, "etc/os-release": disks.UBUNTU.encode()}
    inside = {name: data for name, data in files.items() if not name.startswith("retrofit/")}
    disk = disks.jammy(tmp_path / "disk.raw", files=inside)
    packed = tmp_path / "packed"
    packed.write_bytes(pack(evidence))
    made = world.add(
        disk.read_bytes(),
        disk_format="raw",
        properties={
            "retrofit_image_id": "amphora",
            "retrofit_evidence": digest_of(packed.read_bytes()),
        },
        id="amphora",
    )
    keep_evidence(made, packed, TARGET, in_memory(world), run_id="run", state_id="state")
    archive.add("noble-security", *(dataclasses.replace(each, version="1.1") for each in INSTALLED))
    return made


def in_memory(world: World) -> Any:
    return MemoryGlance(world)


def decided(run: Run, world: World) -> tuple[tuple[Update, ...], tuple[str, ...]]:
    """Return what the archive is found to offer, and the reasons to build."""
    image = world.images["amphora"]
    seen = freshness_of(image, TARGET, run.settings, in_memory(world), NOW)
    assert seen.offer is not None, seen.unknown
    return seen.offer.updates, reasons(seen, TARGET, image, NOW)


@pytest.mark.root
def test_the_image_itself_answers_as_its_evidence_did(
    run: Run, world: World, image: Image, tmp_path: Path
) -> None:
    glance = in_memory(world)
    first = decided(run, world)
    assert first[1] == ("1 security update: haproxy 1.0 -> 1.1",)
    assert not recover_evidence(run, glance, world.images[image.id])

    lost = world.images[image.id].properties["retrofit_evidence_id"]
    del world.images[lost]
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(EvidenceError, match="not in Glance"):
        find_evidence(world.images[image.id], tmp_path / "cache", glance)
    assert recover_evidence(run, glance, world.images[image.id])
    assert decided(run, world) == first
    assert world.images[image.id].properties["retrofit_evidence_id"] != lost
    assert run.report.notes == []


@pytest.mark.root
def test_so_does_one_of_0_1_0_which_never_had_evidence(
    run: Run, world: World, image: Image, tmp_path: Path
) -> None:
    first = decided(run, world)
    names = {"retrofit_evidence", "retrofit_evidence_id"}
    old = {k: v for k, v in world.images[image.id].properties.items() if k not in names}
    world.change(image.id, properties=old)
    assert recover_evidence(run, in_memory(world), world.images[image.id])
    assert decided(run, world) == first


@pytest.mark.root
def test_damaged_evidence_is_no_evidence(
    run: Run, world: World, image: Image, tmp_path: Path
) -> None:
    first = decided(run, world)
    shutil.rmtree(tmp_path / "cache")
    world.content[world.images[image.id].properties["retrofit_evidence_id"]] = b"other"
    assert recover_evidence(run, in_memory(world), world.images[image.id])
    assert decided(run, world) == first


VENV = "opt/amphora-agent-venv/lib/python3.12/site-packages/octavia-16.0.0.dist-info"
AGENT_FILES = {
    f"{VENV}/METADATA": b"Metadata-Version: 2.1\nName: octavia\nVersion: 16.0.0\n",
    "var/lib/dpkg/status": HAPROXY.installed().encode(),
}
OCTAVIA = (Distribution(name="octavia", version="16.0.0"),)


@pytest.mark.root
@pytest.mark.parametrize(("agent", "listed"), [("pypi", OCTAVIA), ("distro", ())])
def test_a_build_leaves_the_distributions_of_an_agent_that_is_not_from_packages(
    run: Run, tmp_path: Path, agent: str, listed: tuple[Distribution, ...]
) -> None:
    disk = disks.jammy(tmp_path / "built.raw", files=AGENT_FILES)
    left = tmp_path / "evidence.tar"
    with tarfile.open(left, "w") as tar:
        tar.add(tmp_path / "built.raw.root.tree/var", arcname="var")
    built = BuiltImage(
        path=disk, disk_format="raw", size=1, virtual_size=1, min_disk=1, sha512="", evidence=left
    )
    settings = BuildSettings.model_validate({"agent": agent})
    packed = evidence_of(built, None, run.report, settings, tmp_path / "work/build")
    assert packed is not None
    assert agent_of(unpack(packed)) == listed
    assert run.report.notes == []


@pytest.mark.root
@pytest.mark.parametrize(("agent", "listed"), [("pypi", OCTAVIA), ("distro", ())])
def test_an_image_without_evidence_has_them_too(
    run: Run, world: World, tmp_path: Path, agent: str, listed: tuple[Distribution, ...]
) -> None:
    target = Target(build=BuildSettings.model_validate({"agent": agent}))
    disk = disks.jammy(tmp_path / "old.raw", files=AGENT_FILES)
    image = world.add(disk.read_bytes(), disk_format="raw", id="old")
    glance = in_memory(world)
    assert recover_evidence(dataclasses.replace(run, target=target), glance, image)
    found = find_evidence(world.images["old"], tmp_path / "cache", glance)
    assert agent_of(found) == listed
