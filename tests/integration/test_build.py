"""A build leaves an image or nothing at all, however it ends.

Everything is real but disk-image-create, whose stand-in mounts, attaches and behaves as told.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from retrofit import process
from retrofit.config import BuildSettings
from retrofit.dib import build
from retrofit.dib.recipe import Recipe
from retrofit.dib.work_directory import loop_devices, mount_points, sweep, work_directory
from retrofit.errors import BuildError, SourceError
from retrofit.model import BuiltImage
from tests.integration.stand_in import StandIn, stand_in
from tests.unit import disks
from tests.unit.disks import MIB

RECIPE = Recipe(
    wanted=("stock-image", "amphora"),
    elements=(),
    environment={},
    inputs={},
    output={"format": "qcow2", "free_space": "64"},
)


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = stand_in(tmp_path)
    monkeypatch.setattr(sys, "executable", str(made.python))
    return made


@pytest.fixture
def record(tool: StandIn) -> Path:
    return tool.record


@pytest.fixture
def behaves(tool: StandIn) -> Callable[[str], Path]:
    """Say what the disk-image-create beside the interpreter does."""
    return tool.behaves


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disks.jammy(tmp_path_factory.mktemp("source") / "stock.img", size=256 * MIB)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def run(source: Path, work: Path, *, beside: Path | None = None, **options: Any) -> BuiltImage:
    beside = beside or work.parent
    settings = BuildSettings(**{"free_space": 64, **options.pop("settings", {})})
    return build(
        source,
        recipe=RECIPE,
        settings=settings.model_copy(update=options.pop("forced", {})),
        work_dir=work,
        cache_dir=beside / "cache",
        log_file=beside / "logs" / "build.log",
        **options,
    )


def assert_nothing_left(work: Path) -> None:
    assert mount_points(work) == []
    assert loop_devices(work) == []
    assert [path for path in work.rglob("*") if path.is_file()] == []
    assert not (work / "build").exists()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "amphora.qcow2"),
        ({"compression": "zlib"}, "amphora.qcow2"),
        ({"format": "raw"}, "amphora.raw"),
    ],
    ids=str,
)
def test_image_is_what_the_result_says(
    behaves: object, source: Path, work: Path, settings: dict[str, Any], name: str
) -> None:
    image = run(source, work, settings=settings)
    assert image.path == work / name
    content = image.path.read_bytes()
    assert image.size == len(content)
    assert image.sha512 == hashlib.sha512(content).hexdigest()
    assert image.virtual_size == 256 * MIB
    assert image.min_disk == 1
    info = disks.run("qemu-img", "info", image.path)
    assert f"file format: {image.disk_format}" in info
    if image.disk_format == "qcow2":
        assert f"compression type: {settings.get('compression', 'zstd')}" in info
        assert "cluster_size: 262144" in info or settings
    assert sorted(path.name for path in work.iterdir()) == [name]
    assert image.manifest is not None
    assert image.manifest.read_text() == "packages\n"


def test_qcow2_source_is_only_read(
    behaves: object, source: Path, work: Path, tmp_path: Path
) -> None:
    qcow2 = tmp_path / "stock.qcow2"
    disks.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", source, qcow2)
    before = qcow2.read_bytes()
    image = run(qcow2, work, source_format="qcow2", settings={"format": "raw"})
    assert image.path.read_bytes() == source.read_bytes()
    assert qcow2.read_bytes() == before


def test_name_of_the_source_is_never_a_protocol(
    behaves: object, source: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nbd:stock").symlink_to(source)
    assert run(Path("nbd:stock"), work).virtual_size == 256 * MIB


def test_environment_is_our_own(
    behaves: object, record: Path, source: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "leaked")
    monkeypatch.setenv("DIB_STOCK_UPGRADE", "leaked")
    run(source, work)
    environment = (record / "environment").read_text()
    assert "leaked" not in environment
    assert f"DIB_STOCK_DISK={work}/build/stock.raw" in environment
    assert "stock-image amphora" in (record / "arguments").read_text()


PACKAGE = "haproxy_2.6.12-1_amd64.deb"


def test_packages_of_a_build_are_lent_to_the_next_and_are_all_that_it_sees(
    behaves: Callable[[str], Path], record: Path, source: Path, work: Path
) -> None:
    """Programs of an image have root where its packages are: here they do their worst."""
    behaves(
        f'cd "$DIB_IMAGE_CACHE/apt/ubuntu"; echo 1 > {PACKAGE}; mkfifo a_1_all.deb;'
        " ln -s /etc/shadow b_1_all.deb; mkdir c_1_all.deb partial; ln -sf /etc lock;"
        ' mkdir -p "$DIB_IMAGE_CACHE/source-repositories" "$DIB_LOCKFILES"; cd /'
    )
    run(source, work)
    behaves(
        'find "$DIB_IMAGE_CACHE" -mindepth 1 -printf "%y %P\\n" | sort > "$RECORD/seen";'
        ' cd "$DIB_IMAGE_CACHE/apt/ubuntu/lent";'
        f' cp {PACKAGE} "$RECORD"; echo evil > {PACKAGE}; cd /'
    )
    for _ in range(2):
        run(source, work.with_name("later"))
        assert (record / "seen").read_text().splitlines() == [
            "d apt", "d apt/ubuntu", "d apt/ubuntu/lent", f"f apt/ubuntu/lent/{PACKAGE}",
        ]  # fmt: skip
        assert (record / PACKAGE).read_text() == "1\n"


def test_mounts_of_a_build_are_seen_by_nobody_else(
    behaves: Callable[[str], Path], record: Path, source: Path, work: Path
) -> None:
    behaves('grep -c stand-in /proc/self/mountinfo > "$RECORD/inside"')
    run(source, work)
    assert (record / "inside").read_text() == "1\n"
    assert "stand-in" not in Path("/proc/self/mountinfo").read_text()


def test_failure_shows_the_lines_that_matter_and_the_log(
    behaves: Callable[[str], Path], source: Path, work: Path
) -> None:
    behaves("echo 'E: Unable to locate package x'; exit 100")
    with pytest.raises(BuildError) as caught:
        run(source, work)
    message = caught.value.message
    assert "disk-image-create failed in install.d/50-x:\n  E: Unable to locate package x" in message
    assert str(work.with_name("logs") / "build.log") in message
    assert_nothing_left(work)


def test_what_a_build_leaves_attached_is_detached(
    behaves: Callable[[str], Path], source: Path, work: Path
) -> None:
    behaves('losetup --find "$DIB_STOCK_DISK"; trap - EXIT; exit 1')
    with pytest.raises(BuildError):
        run(source, work)
    assert_nothing_left(work)


def test_work_directory_behind_a_link_is_cleared_as_well(
    behaves: Callable[[str], Path], source: Path, work: Path, tmp_path: Path
) -> None:
    behaves('losetup --find "$DIB_STOCK_DISK"; trap - EXIT; exit 1')
    work.mkdir()
    link = tmp_path / "link"
    link.symlink_to(work)
    with pytest.raises(BuildError):
        run(source, link)
    assert_nothing_left(work)


def test_daemon_that_a_package_started_ends_with_the_build(
    behaves: Callable[[str], Path], record: Path, source: Path, work: Path
) -> None:
    behaves(
        f"setsid sleep 100 {record} & disown; setsid bash -c 'trap \"\" TERM; sleep 99' {record} &"
    )
    run(source, work)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(record) not in listed.stdout


def test_time_limit_names_where_it_was_and_lets_it_clean_up(
    behaves: Callable[[str], Path], source: Path, work: Path
) -> None:
    behaves("sleep 100")
    began = time.monotonic()
    with pytest.raises(BuildError, match=r"did not finish within 3 s in install\.d/50-x"):
        run(source, work, forced={"timeout": 3})
    assert time.monotonic() - began < 30
    assert "Unmount everything" in (work.with_name("logs") / "build.log").read_text()
    assert_nothing_left(work)


def test_output_without_end_is_stopped_and_its_log_named(
    behaves: Callable[[str], Path], source: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MOST_OUTPUT", 2 * MIB)
    behaves("yes 'once more'")
    with pytest.raises(
        BuildError, match=r"stopped in install\.d/50-x: it printed more than 2 MiB"
    ) as e:
        run(source, work)
    log_file = work.with_name("logs") / "build.log"
    assert str(log_file) in e.value.message
    assert log_file.stat().st_size < 2 * MIB + 1000
    assert_nothing_left(work)


def test_log_on_a_full_disk_is_no_bug_of_ours(
    behaves: object, source: Path, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    disks.run("mount", "-t", "tmpfs", "-o", "size=64k", "small", logs)
    try:
        (logs / "build.log").touch()
        with suppress(OSError):
            (logs / "filler").write_bytes(bytes(MIB))
        with pytest.raises(BuildError, match=r"cannot write .*build\.log: No space left"):
            run(source, tmp_path / "work")
    finally:
        disks.run("umount", logs)
    assert_nothing_left(tmp_path / "work")


PHRASES = (
    "examining the source",
    "copying the source's disk",
    "copying the source's files",
    "installing packages",
    "writing the image",
    "computing the checksum",
)


@pytest.mark.parametrize("phrase", PHRASES)
def test_interruption_in_every_phase_leaves_nothing(
    tool: StandIn, source: Path, work: Path, phrase: str
) -> None:
    def progress(said: str, _fraction: float | None) -> None:
        if said == phrase:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(source, work, progress=progress)
    assert_nothing_left(work)
    assert tool.alive() == []


def test_phrases_above_are_all_there_are(behaves: object, source: Path, work: Path) -> None:
    seen = []
    run(source, work, progress=lambda said, _: seen.append(said))
    assert set(seen) == {*PHRASES, "built"}


def test_interruption_while_it_runs_waits_for_its_clean_up(
    tool: StandIn, source: Path, work: Path
) -> None:
    tool.behaves(
        "trap 'sleep 1; touch \"$RECORD/cleaned\"; exit 143' TERM; while :; do sleep 0.1; done"
    )

    def progress(said: str, _fraction: float | None) -> None:
        if said == "installing packages":
            signal.setitimer(signal.ITIMER_REAL, 0.5)

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(source, work, progress=progress)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (tool.record / "cleaned").exists()
    assert_nothing_left(work)
    assert tool.alive() == []


def test_second_interruption_ends_a_build_that_does_not_stop(
    tool: StandIn, source: Path, work: Path
) -> None:
    tool.behaves("trap '' TERM; while :; do sleep 0.1; done")

    def progress(said: str, _fraction: float | None) -> None:
        if said == "installing packages":
            signal.setitimer(signal.ITIMER_REAL, 0.3, 1)

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(source, work, progress=progress)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 30
    assert_nothing_left(work)
    assert tool.alive() == []


CHILD = """
import sys
from pathlib import Path
from tests.integration import test_build as test
from retrofit.dib import plan
from retrofit.dib.work_directory import work_directory
source, work, beside, within, sys.executable = sys.argv[1:]
plan.STOP_GRACE = 3
with work_directory(Path(work), "run-1") as directory:
    test.run(Path(source), directory / within, beside=Path(beside))
"""


# A run gives its build a directory of its own within the run's.
@pytest.mark.parametrize(
    ("behaviour", "within"),
    [
        ("sleep 100", "."),
        ("trap '' TERM; while :; do sleep 0.1; done", "."),
        ("trap '' TERM; while :; do sleep 0.1; done", "build"),
    ],
)
def test_sweep_clears_what_a_killed_run_left(
    tool: StandIn,
    source: Path,
    work: Path,
    behaviour: str,
    within: str,
) -> None:
    real = tool.python.read_text().split()[2]
    tool.behaves(behaviour)
    child = subprocess.Popen(
        [real, "-c", CHILD, source, work, tool.record, within, tool.python],
        cwd=Path(__file__).parents[2],
    )
    try:
        deadline = time.monotonic() + 60
        while not (tool.record / "running").exists():
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert sweep(work) == [], "the run is alive"
        assert loop_devices(work)
    finally:
        child.kill()
        child.wait()
    mourned: list[str] = []
    swept = sweep(work, mourn=mourned.append)
    assert swept[-1] == f"directory {work / 'run-1'}"
    assert mourned == ["run-1"]
    assert tool.alive() == []
    assert list(work.iterdir()) == []
    assert_nothing_left(work)


def test_sweep_finds_mounts_and_deleted_disks(work: Path) -> None:
    directory = work / "old"
    (directory / "a b").mkdir(parents=True)
    disk = directory / "disk.raw"
    disk.write_bytes(bytes(MIB))
    disks.run("mount", "-t", "tmpfs", "left", directory / "a b")
    (directory / "a b" / "inner").mkdir()
    disks.run("mount", "-t", "tmpfs", "left", directory / "a b" / "inner")
    device = disks.run("losetup", "--find", "--show", disk).strip()
    disk.unlink()
    assert sweep(work) == [
        f"mount {directory}/a b/inner",
        f"mount {directory}/a b",
        f"loop device {device} of {disk} (deleted)",
        f"directory {directory}",
    ]
    assert_nothing_left(work)
    assert sweep(work) == []
    assert sweep(work / "none") == []


def test_work_directory_is_gone_after_the_block_and_not_shared(work: Path) -> None:
    with work_directory(work, "run-1") as directory:
        (directory / "file").touch()
        with pytest.raises(BuildError, match="already exists"), work_directory(work, "run-1"):
            pass
    assert list(work.iterdir()) == []


def test_work_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"cannot make the work directory .*/file/run"
    with pytest.raises(BuildError, match=message), work_directory(tmp_path / "file", "run"):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source_format": "qcow2"}, "is raw, but its record says qcow2"),
        ({"expected_os": ("debian", "12")}, r"ubuntu 24\.04 \(noble\) inside, but its record says"),
    ],
)
def test_source_that_is_not_what_its_record_says(
    behaves: object, record: Path, source: Path, work: Path, options: Any, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        run(source, work, **options)
    assert not (record / "running").exists()
    assert_nothing_left(work)
    if "expected_os" in options:
        run(source, work, allow_os_mismatch=True, **options)


def test_image_larger_than_the_flavor_is_refused(behaves: object, source: Path, work: Path) -> None:
    behaves_grown = 'truncate -s 3G "$DIB_STOCK_DISK"'
    behaves(behaves_grown)  # type: ignore[operator]
    with pytest.raises(BuildError, match="needs a disk of 3 GiB, and the amphora flavor has 2 GiB"):
        run(source, work, settings={"max_disk": 2})
    assert_nothing_left(work)


def test_image_without_the_promised_space_is_refused(
    behaves: object, source: Path, work: Path
) -> None:
    with pytest.raises(BuildError, match=r"has \d+ MiB free instead of 512 MiB"):
        run(source, work, settings={"free_space": 512})
    assert_nothing_left(work)


def test_build_that_leaves_no_image_is_a_failure(
    behaves: Callable[[str], Path], source: Path, work: Path
) -> None:
    behaves("exit 0")
    with pytest.raises(BuildError, match="left no image"):
        run(source, work)
    assert_nothing_left(work)


def test_disk_too_small_is_said_with_numbers(behaves: object, source: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    disks.run("mount", "-t", "tmpfs", "-o", "size=16m", "small", small)
    try:
        with pytest.raises(BuildError, match=r"has \d+ MiB free, and this build needs \d\.\d GiB"):
            run(source, small / "work")
        assert_nothing_left(small / "work")
    finally:
        disks.run("umount", small)


def test_two_builds_in_one_directory_are_kept_apart(
    behaves: object, source: Path, work: Path
) -> None:
    (work / "build").mkdir(parents=True)
    with pytest.raises(BuildError, match="is in use by another build"):
        run(source, work)
    assert (work / "build").exists()


def test_supervisor_refuses_to_signal_the_whole_machine() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "retrofit.dib.supervise", os.devnull, "1", "true"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode != 0
    assert "process 1" in done.stderr
