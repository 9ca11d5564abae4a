from __future__ import annotations

import fcntl
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrofit.build.recipe import recipe_for
from retrofit.config import BuildSettings, SourceSettings, Target, VerifySettings
from retrofit.model import BuiltImage, Check, Outcome, Verdict
from retrofit.produce.shared_builds import (
    DIRECTORY,
    OLD_DIRECTORY,
    BuildKey,
    ProducedImage,
    SharedBuilds,
    shared_builds,
)
from retrofit.source.choose import choose_source
from retrofit.source.trust import Trust
from retrofit.system.signals import interruptible
from tests.unit.images import OWN, synced

NORTH, SOUTH = Target(name="north"), Target(name="south")
OTHER = Target(name="other", build=BuildSettings(packages=("tcpdump",)))
RECIPE = recipe_for(NORTH.build).digest


def key(target: Target = NORTH, *, recipe: str = RECIPE, **changed: Any) -> BuildKey:
    source = choose_source([synced()], SourceSettings(), own_project=OWN).source
    assert source is not None
    return replace(BuildKey.of(source, target, recipe, trust=Trust.OWNER), **changed)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], ProducedImage]:
    def made() -> ProducedImage:
        path = tmp_path / "amphora.qcow2"
        path.write_text("an amphora")
        built = BuiltImage(
            path=path, disk_format="qcow2", size=10, virtual_size=10, min_disk=1, sha512="0"
        )
        checks = (Check(name="haproxy", outcome=Outcome.PASSED, detail=""),)
        verdict = Verdict(checks=checks, how="offline", facts={})
        return ProducedImage(
            built=built, verdict=verdict, source_hashes={}, source_size=0, run_id="the first"
        )

    return made


def directories(work: Path) -> list[str]:
    return sorted(path.name for path in (work / DIRECTORY).glob("*"))


def test_what_one_run_made_is_there_for_the_next_with_the_same_recipe(
    tmp_path: Path, make: Callable[[], ProducedImage]
) -> None:
    with shared_builds([NORTH, SOUTH], tmp_path / "work") as shared:
        assert shared.find(key()) is None
        kept = shared.keep(key(), make())
        assert kept.built.path.read_text() == "an amphora"
        assert kept.built.path.is_relative_to(tmp_path / "work" / DIRECTORY)
        assert shared.find(key(SOUTH)) == kept
    assert directories(tmp_path / "work") == []


def test_nothing_is_kept_where_nobody_will_ask_for_it(
    tmp_path: Path, make: Callable[[], ProducedImage]
) -> None:
    with shared_builds([NORTH, OTHER], tmp_path / "work") as shared:
        made = make()
        assert shared.keep(key(), made) is made
        assert shared.find(key()) is None
        assert directories(tmp_path / "work") == []
    others = key(OTHER, recipe=recipe_for(OTHER.build).digest)
    with shared_builds([NORTH, SOUTH, OTHER], tmp_path / "work") as shared:
        made = make()
        assert shared.keep(others, made) is made
        assert shared.find(others) is None


def test_an_image_whose_file_is_gone_is_not_there(
    tmp_path: Path, make: Callable[[], ProducedImage]
) -> None:
    with shared_builds([NORTH, SOUTH], tmp_path / "work") as shared:
        shared.keep(key(), make()).built.path.unlink()
        assert shared.find(key()) is None


@pytest.mark.parametrize(
    "other",
    [
        key(version="20260912"),
        key(content_hash="sha512:other"),
        key(product="com.ubuntu.cloud:minimal:24.04:amd64"),
        key(architecture="aarch64"),
        key(recipe="sha256:other"),
        key(trust=Trust.SIGNED),
        key(Target(verify=VerifySettings(level="offline"))),
        key(Target(build=BuildSettings(max_disk=2))),
        key(Target(source=SourceSettings(allow_os_mismatch=True))),
    ],
    ids=str,
)
def test_another_key_gets_an_image_of_its_own(
    tmp_path: Path, make: Callable[[], ProducedImage], other: BuildKey
) -> None:
    assert other != key()
    shared = SharedBuilds(tmp_path, [RECIPE])
    shared.keep(key(), make())
    assert shared.find(key()) is not None
    assert shared.find(other) is None


def test_what_a_dead_run_left_is_removed_and_what_is_in_use_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / DIRECTORY
    for name in ("1-dead0000", "2-live0000"):
        (root / name).mkdir(parents=True)
        (root / name / "0.qcow2").write_text("an amphora")
    (root / "1-dead0000" / "lock").touch()
    with (root / "2-live0000" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with shared_builds([NORTH], tmp_path):
            assert directories(tmp_path) == ["2-live0000"]
    with shared_builds([NORTH], tmp_path):
        assert directories(tmp_path) == []


@pytest.mark.parametrize("name", [DIRECTORY, OLD_DIRECTORY])
def test_a_directory_that_a_dead_run_was_just_making_is_removed(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    (root / "1-begun000").mkdir(parents=True)
    (root / "unfinished.abc").mkdir()  # of earlier versions
    (root / "unfinished.abc" / "lock").touch()
    with shared_builds([NORTH], tmp_path):
        assert list(root.iterdir()) == []


@pytest.mark.parametrize("name", [DIRECTORY, OLD_DIRECTORY])
@pytest.mark.parametrize("foreign", ["invoices", "1-abcdefgh", "20261101T030000Z-0a1b2c", "4711-"])
def test_what_has_no_name_or_no_lock_of_ours_stays(tmp_path: Path, name: str, foreign: str) -> None:
    kept = tmp_path / name / foreign / "2026.pdf"
    kept.parent.mkdir(parents=True)
    kept.write_text("paid")
    with shared_builds([NORTH, SOUTH], tmp_path):
        assert [path.name for path in kept.parent.iterdir()] == ["2026.pdf"]
    assert kept.read_text() == "paid"


def test_a_directory_that_a_run_is_just_making_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / DIRECTORY
    removing = threading.Thread(target=lambda: shared_builds([NORTH], tmp_path).__enter__())

    def mkdtemp(**_: object) -> str:
        (root / "1-abc").mkdir()
        removing.start()
        removing.join(0.2)
        assert removing.is_alive()
        return str(root / "1-abc")

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    with shared_builds([NORTH, SOUTH], tmp_path):
        removing.join()
        assert directories(tmp_path) == ["1-abc"]


@pytest.mark.parametrize("step", ["mkdtemp", "rmdir"])
def test_an_interruption_leaves_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    module: Any = tempfile if step == "mkdtemp" else Path
    work = getattr(module, step)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        done = work(*args, **kwargs) if step == "mkdtemp" else None
        os.kill(os.getpid(), signal.SIGTERM)
        return done if step == "mkdtemp" else work(*args, **kwargs)

    monkeypatch.setattr(module, step, interrupted)
    with (
        pytest.raises(KeyboardInterrupt),
        interruptible(),
        shared_builds([NORTH, SOUTH], tmp_path),
    ):
        pass
    assert directories(tmp_path) == []


def test_two_commands_at_once_leave_each_others_images_alone(
    tmp_path: Path, make: Callable[[], ProducedImage]
) -> None:
    with shared_builds([NORTH, SOUTH], tmp_path / "work") as shared:
        kept = shared.keep(key(), make())
        with shared_builds([NORTH, SOUTH], tmp_path / "work") as another:
            assert another.find(key()) is None
            assert len(directories(tmp_path / "work")) == 2
        assert shared.find(key()) == kept


def test_without_a_directory_every_run_makes_its_own(
    tmp_path: Path, make: Callable[[], ProducedImage]
) -> None:
    (tmp_path / DIRECTORY).write_text("a file is in the way")
    with shared_builds([NORTH, SOUTH], tmp_path) as shared:
        made = make()
        assert shared.keep(key(), made) is made


def test_a_target_whose_elements_are_missing_stops_no_other(tmp_path: Path) -> None:
    broken = Target(name="broken", build=BuildSettings(elements=("no-such-element",)))
    with shared_builds([NORTH, broken, SOUTH], tmp_path):
        assert len(directories(tmp_path)) == 1
