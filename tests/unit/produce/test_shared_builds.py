from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import BuildSettings, SourceSettings, Target, VerifySettings
from retrofit.dib import recipe_for
from retrofit.interrupts import interruptible
from retrofit.model import BuiltImage, Check, Outcome, Verdict
from retrofit.shelf import DIRECTORY, Job, Made, Shelf, job_of, shelf_for
from retrofit.source import choose_source
from retrofit.trust import Trust
from tests.unit.images import OWN, synced

NORTH, SOUTH = Target(name="north"), Target(name="south")
OTHER = Target(name="other", build=BuildSettings(packages=("tcpdump",)))
RECIPE = recipe_for(NORTH.build).digest


def job(target: Target = NORTH, *, recipe: str = RECIPE, **changed: Any) -> Job:
    source = choose_source([synced()], SourceSettings(), own_project=OWN).source
    assert source is not None
    return replace(job_of(source, target, recipe, trust=Trust.OWNER), **changed)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Made]:
    def made() -> Made:
        path = tmp_path / "amphora.qcow2"
        path.write_text("an amphora")
        built = BuiltImage(
            path=path, disk_format="qcow2", size=10, virtual_size=10, min_disk=1, sha512="0"
        )
        checks = (Check(name="haproxy", outcome=Outcome.PASSED, detail=""),)
        verdict = Verdict(checks=checks, how="offline", facts={})
        return Made(
            built=built, verdict=verdict, source_hashes={}, source_size=0, run_id="the first"
        )

    return made


def shelves(work: Path) -> list[str]:
    return sorted(path.name for path in (work / DIRECTORY).glob("*"))


def test_what_one_run_made_is_there_for_the_next_with_the_same_recipe(
    tmp_path: Path, make: Callable[[], Made]
) -> None:
    with shelf_for([NORTH, SOUTH], tmp_path / "work") as shelf:
        shelf.begin(RECIPE)
        assert shelf.take(job()) is None
        kept = shelf.keep(job(), make())
        assert kept.built.path.read_text() == "an amphora"
        assert kept.built.path.is_relative_to(tmp_path / "work" / DIRECTORY)
        shelf.begin(RECIPE)
        assert shelf.take(job(SOUTH)) == kept
    assert shelves(tmp_path / "work") == []


def test_nothing_is_kept_where_nobody_will_ask_for_it(
    tmp_path: Path, make: Callable[[], Made]
) -> None:
    with shelf_for([NORTH, OTHER], tmp_path / "work") as shelf:
        shelf.begin(RECIPE)
        made = make()
        assert shelf.keep(job(), made) is made
        assert shelf.take(job()) is None
        assert shelves(tmp_path / "work") == []
    with shelf_for([NORTH, SOUTH, OTHER], tmp_path / "work") as shelf:
        shelf.begin(RECIPE)
        shelf.begin(RECIPE)
        made = make()
        assert shelf.keep(job(), made) is made  # the last that asks for this recipe


def test_an_image_whose_file_is_gone_is_not_there(tmp_path: Path, make: Callable[[], Made]) -> None:
    with shelf_for([NORTH, SOUTH], tmp_path / "work") as shelf:
        shelf.begin(RECIPE)
        shelf.keep(job(), make()).built.path.unlink()
        assert shelf.take(job()) is None


@pytest.mark.parametrize(
    "other",
    [
        job(version="20260912"),
        job(content_hash="sha512:other"),
        job(product="com.ubuntu.cloud:minimal:24.04:amd64"),
        job(architecture="aarch64"),
        job(recipe="sha256:other"),
        job(trust=Trust.SIGNED),
        job(Target(verify=VerifySettings(level="offline"))),
        job(Target(build=BuildSettings(max_disk=2))),
        job(Target(source=SourceSettings(allow_os_mismatch=True))),
    ],
    ids=str,
)
def test_another_job_gets_an_image_of_its_own(
    tmp_path: Path, make: Callable[[], Made], other: Job
) -> None:
    assert other != job()
    shelf = Shelf(tmp_path, [RECIPE, RECIPE])
    shelf.begin(RECIPE)
    shelf.keep(job(), make())
    assert shelf.take(job()) is not None
    assert shelf.take(other) is None


def test_a_dead_runs_shelf_is_swept_and_one_in_use_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / DIRECTORY
    for name in ("1-dead", "2-live"):
        (root / name).mkdir(parents=True)
        (root / name / "0.qcow2").write_text("an amphora")
    (root / "1-dead" / "lock").touch()
    with (root / "2-live" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with shelf_for([NORTH], tmp_path):
            assert shelves(tmp_path) == ["2-live"]
    with shelf_for([NORTH], tmp_path):
        assert shelves(tmp_path) == []


def test_a_shelf_that_a_dead_run_was_just_making_is_swept(tmp_path: Path) -> None:
    root = tmp_path / DIRECTORY
    (root / "1-begun").mkdir(parents=True)
    (root / "unfinished.abc").mkdir()  # of earlier versions
    (root / "unfinished.abc" / "lock").touch()
    with shelf_for([NORTH], tmp_path):
        assert shelves(tmp_path) == []


def test_a_shelf_that_a_run_is_just_making_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / DIRECTORY
    sweeping = threading.Thread(target=lambda: shelf_for([NORTH], tmp_path).__enter__())

    def mkdtemp(**_: object) -> str:
        (root / "1-abc").mkdir()
        sweeping.start()
        sweeping.join(0.2)
        assert sweeping.is_alive()
        return str(root / "1-abc")

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    with shelf_for([NORTH, SOUTH], tmp_path):
        sweeping.join()
        assert shelves(tmp_path) == ["1-abc"]


@pytest.mark.parametrize("step", ["mkdtemp", "rmtree"])
def test_an_interruption_leaves_no_shelf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    module: Any = tempfile if step == "mkdtemp" else shutil
    work = getattr(module, step)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        done = work(*args, **kwargs) if step == "mkdtemp" else None
        os.kill(os.getpid(), signal.SIGTERM)
        return done if step == "mkdtemp" else work(*args, **kwargs)

    monkeypatch.setattr(module, step, interrupted)
    with (
        pytest.raises(KeyboardInterrupt),
        interruptible(),
        shelf_for([NORTH, SOUTH], tmp_path),
    ):
        pass
    assert shelves(tmp_path) == []


def test_two_commands_at_once_leave_each_others_shelves_alone(
    tmp_path: Path, make: Callable[[], Made]
) -> None:
    with shelf_for([NORTH, SOUTH], tmp_path / "work") as shelf:
        shelf.begin(RECIPE)
        kept = shelf.keep(job(), make())
        with shelf_for([NORTH, SOUTH], tmp_path / "work") as another:
            assert another.take(job()) is None
            assert len(shelves(tmp_path / "work")) == 2
        assert shelf.take(job()) == kept


def test_without_room_for_a_shelf_every_run_makes_its_own(
    tmp_path: Path, make: Callable[[], Made]
) -> None:
    (tmp_path / DIRECTORY).write_text("a file is in the way")
    with shelf_for([NORTH, SOUTH], tmp_path) as shelf:
        shelf.begin(RECIPE)
        made = make()
        assert shelf.keep(job(), made) is made


def test_a_target_whose_elements_are_missing_stops_no_other(tmp_path: Path) -> None:
    broken = Target(name="broken", build=BuildSettings(elements=("no-such-element",)))
    with shelf_for([NORTH, broken, SOUTH], tmp_path):
        assert len(shelves(tmp_path)) == 1
