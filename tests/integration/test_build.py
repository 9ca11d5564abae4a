"""A build leaves an image or nothing at all, however it ends.

Everything is real but disk-image-create, whose stand-in mounts, attaches and behaves as told.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from retrofit.build import build as build_module
from retrofit.build import command
from retrofit.build.build import build
from retrofit.build.recipe import Recipe
from retrofit.build.request import BuildRequest
from retrofit.build.work_directory import (
    loop_devices,
    mount_points,
    remove_leftovers,
    work_directory,
)
from retrofit.config import BuildSettings
from retrofit.errors import BuildError, SourceError
from retrofit.model import BuiltImage
from retrofit.produce.preflight import machine
from retrofit.system import logged_process
from tests.component import disks
from tests.component.disks import MIB
from tests.integration.fake_disk_image_create import FakeDiskImageCreate, fake_disk_image_create

RUN = "20261101T031500Z-0a1b2c"
"""A run's directory is known by a name of this form, and by its lock."""
RECIPE = Recipe(
    wanted=("stock-image", "amphora"),
    elements=(),
    environment={},
    inputs={},
    output={"format": "qcow2", "free_space": "64"},
)


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDiskImageCreate:
    made = fake_disk_image_create(tmp_path)
    monkeypatch.setattr(sys, "executable", str(made.python))
    return made


@pytest.fixture
def record(tool: FakeDiskImageCreate) -> Path:
    return tool.record


@pytest.fixture
def behaves(tool: FakeDiskImageCreate) -> Callable[[str], Path]:
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
        BuildRequest(
            source=source,
            recipe=RECIPE,
            settings=settings.model_copy(update=options.pop("forced", {})),
            work_dir=work,
            cache_dir=beside / "cache",
            log_file=beside / "logs" / "build.log",
            **options,
        )
    )


def assert_nothing_left(work: Path) -> None:
    assert mount_points(work) == []
    assert loop_devices(work) == []
    assert [path for path in work.rglob("*") if path.is_file()] == []
    assert not (work / "build").exists()


def test_a_table_that_glance_refuses_ends_a_raw_build_before_it_begins(
    tool: FakeDiskImageCreate, source: Path, work: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "odd.img"
    shutil.copyfile(source, odd)
    with odd.open("r+b") as file:
        file.seek(446 + 1)
        file.write(b"\xff\xff\xff")  # start CHS of the protective entry
    with pytest.raises(SourceError, match="Glance will refuse the image"):
        run(odd, work, settings={"format": "raw"})
    assert_nothing_left(work)
    assert run(odd, work, settings={"format": "qcow2"}).disk_format == "qcow2"


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
    assert f"DIB_STOCK_DISK={work}/build/source.raw" in environment
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
    assert "disk-image-create failed in install.d/50-x:\n  Unable to locate package x" in message
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
    monkeypatch.setattr(logged_process, "MOST_OUTPUT", 2 * MIB)
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
    tool: FakeDiskImageCreate, source: Path, work: Path, phrase: str
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
    tool: FakeDiskImageCreate, source: Path, work: Path
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
    tool: FakeDiskImageCreate, source: Path, work: Path
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
from retrofit.build import command
from retrofit.produce.preflight import machine
from retrofit.build.work_directory import work_directory
source, work, beside, within, sys.executable = sys.argv[1:]
command.STOP_GRACE = 3
with work_directory(Path(work), test.RUN) as directory:
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
def test_clears_what_a_killed_run_left(
    tool: FakeDiskImageCreate,
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
        assert remove_leftovers(work) == [], "the run is alive"
        assert loop_devices(work)
    finally:
        child.kill()
        child.wait()
    dead: list[str] = []
    removed = remove_leftovers(work, on_dead_build=dead.append)
    assert removed[-1] == f"directory {work / RUN}"
    assert dead == [RUN]
    assert tool.alive() == []
    assert list(work.iterdir()) == []
    assert_nothing_left(work)


def test_finds_mounts_and_deleted_disks(work: Path) -> None:
    directory = work / RUN
    (directory / "a b").mkdir(parents=True)
    (directory / ".lock").touch()
    disk = directory / "disk.raw"
    disk.write_bytes(bytes(MIB))
    disks.run("mount", "-t", "tmpfs", "left", directory / "a b")
    (directory / "a b" / "inner").mkdir()
    disks.run("mount", "-t", "tmpfs", "left", directory / "a b" / "inner")
    device = disks.run("losetup", "--find", "--show", disk).strip()
    disk.unlink()
    assert remove_leftovers(work) == [
        f"mount {directory}/a b/inner",
        f"mount {directory}/a b",
        f"loop device {device} of {disk} (deleted)",
        f"directory {directory}",
    ]
    assert_nothing_left(work)
    assert remove_leftovers(work) == []
    assert remove_leftovers(work / "none") == []


@pytest.mark.parametrize(
    ("name", "lock"),
    [
        ("ubuntu-mirror", False),
        ("ubuntu-mirror", True),
        (RUN, False),
        ("20261101T0300Z-database", True),
        (".retrofit-new-abcdefgh", False),
    ],
)
def test_leaves_what_has_no_name_or_no_lock_of_ours(work: Path, name: str, lock: bool) -> None:
    mirror = work / name / "dists"
    mirror.mkdir(parents=True)
    (mirror / "Release").write_text("400 GiB")
    disks.run("mount", "-t", "tmpfs", "foreign", mirror)
    try:
        if lock:
            (work / name / ".lock").touch()
        assert remove_leftovers(work) == []
        assert str(mirror) in mount_points(work)
    finally:
        disks.run("umount", mirror)
    assert (mirror / "Release").read_text() == "400 GiB"


def test_a_link_in_the_place_of_a_lock_is_none(work: Path) -> None:
    (work / RUN).mkdir(parents=True)
    (work / RUN / "kept").touch()
    (work / RUN / ".lock").symlink_to(work / RUN / "kept")
    assert remove_leftovers(work) == []
    assert (work / RUN / "kept").exists()


def test_a_removal_that_died_at_its_end_is_completed(work: Path) -> None:
    (work / RUN).mkdir(parents=True)
    (work / ".retrofit-new-abcdefgh").mkdir()
    assert len(remove_leftovers(work)) == 2
    assert list(work.iterdir()) == []


def test_work_directory_is_gone_after_the_block_and_not_shared(work: Path) -> None:
    with work_directory(work, RUN) as directory:
        (directory / "file").touch()
        with pytest.raises(BuildError, match="already exists"), work_directory(work, RUN):
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
        ({"source_format": "qcow2"}, "is raw, but its record has qcow2"),
        ({"expected_os": ("debian", "12")}, r"ubuntu 24\.04 \(noble\) inside, but its record has"),
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
    with pytest.raises(BuildError, match="without an image"):
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


def test_supervisor_refuses_to_signal_the_whole_machine(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    environment.touch()
    done = subprocess.run(
        [sys.executable, "-m", "retrofit.dib.supervise", os.devnull, "1", environment, "true"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode != 0
    assert "process 1" in done.stderr
    assert environment.exists()  # nothing was done before it refused


SUDO_RS = """#!/bin/sh
# A stand-in for sudo-rs: -E is not supported, which it says, and goes on without the environment.
while :; do
    case "$1" in
        -E | --preserve-env) echo "sudo: $1 is not supported" >&2; shift ;;
        -n) shift ;;
        *) break ;;
    esac
done
echo "$*" >> RECORD/sudo
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
"""
SECRET = "http://user:s3cret@proxy.example:3128"


class TestSudo:
    """No build depends on what the machine's sudo keeps, or on there being one."""

    @pytest.fixture
    def sudo_rs(self, tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A sudo without -E, before all others for whoever looks in the system's directories."""
        directory = tmp_path / "sudo-rs"
        directory.mkdir()
        sudo = directory / "sudo"
        sudo.write_text(SUDO_RS.replace("RECORD", str(record)))
        sudo.chmod(0o755)
        path = f"{directory}:{command.SYSTEM_PATH}"
        for module in (command, machine, build_module):
            monkeypatch.setattr(module, "SYSTEM_PATH", path)
        monkeypatch.setenv("PATH", path)
        return sudo

    @pytest.mark.usefixtures("sudo_rs")
    @pytest.mark.parametrize("user", [0, 1000])
    def test_the_settings_arrive(
        self,
        tool: FakeDiskImageCreate,
        record: Path,
        source: Path,
        work: Path,
        monkeypatch: pytest.MonkeyPatch,
        user: int,
    ) -> None:
        tool.behaves(
            'sudo -n -E env > "$RECORD/kept"; sudo env > "$RECORD/plain"\n'
            'cat /proc/[0-9]*/cmdline | tr "\\0" " " > "$RECORD/argv"'
        )
        with monkeypatch.context() as patched:
            # Another user than root in all that asks, who gets root's rights by this sudo.
            patched.setattr(os, "geteuid", lambda: user)
            run(source, work, settings={"http_proxy": SECRET})
        kept = (record / "kept").read_text().splitlines()
        assert f"http_proxy={SECRET}" in kept
        assert "DISTRO_NAME=ubuntu" in kept
        plain = (record / "plain").read_text()
        assert "DIB_" not in plain
        assert "http_proxy" not in plain
        # Root asks no sudo of the machine's for anything; others only to begin.
        asked = record / "sudo"
        if user == 0:
            assert not asked.exists()
        else:
            begun = [line for line in asked.read_text().splitlines() if "supervise" in line]
            assert len(begun) == 1
            assert "s3cret" not in asked.read_text()
        assert "s3cret" not in (record / "argv").read_text()
        assert not (work / "build").exists()

    def test_a_secret_is_in_no_file_while_disk_image_create_runs(
        self, tool: FakeDiskImageCreate, record: Path, source: Path, work: Path
    ) -> None:
        tool.behaves(f'grep -rl s3cret --exclude=stock.raw "{work}" > "$RECORD/found" || true')
        run(source, work, settings={"http_proxy": SECRET})
        assert (record / "found").read_text() == ""

    def test_root_builds_without_any_sudo(
        self,
        tool: FakeDiskImageCreate,
        source: Path,
        work: Path,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        bare = tmp_path / "bare"
        bare.mkdir()
        for directory in map(Path, reversed(command.SYSTEM_PATH.split(":"))):
            for program in directory.iterdir() if directory.is_dir() else ():
                if program.name != "sudo":
                    (bare / program.name).unlink(missing_ok=True)
                    (bare / program.name).symlink_to(program)
        for module in (command, machine, build_module):
            monkeypatch.setattr(module, "SYSTEM_PATH", str(bare))
        monkeypatch.setenv("PATH", str(bare))
        tool.behaves("sudo -E true")
        run(source, work)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(BuildError, match="cannot build without sudo"):
            machine.check_tools(tool.tools)


def test_settings_that_an_element_found_missing_are_named(
    behaves: Callable[[str], Path], source: Path, work: Path
) -> None:
    behaves(
        "echo 'stock-image: settings did not reach the chroot: DIB_RELEASE http_proxy' >&2\n"
        "echo 'E: something else failed' >&2; exit 1"
    )
    with pytest.raises(BuildError, match=r"did not reach the chroot: DIB_RELEASE http_proxy$"):
        run(source, work)
    assert_nothing_left(work)
