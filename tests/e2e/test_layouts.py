"""Stock images in both layouts keep everything that their vendor made, but what had to change.

Their own builds leave out the elements that make an amphora: what is examined is the disk around
them. `make test` examines the disk of the image that its main job builds.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from retrofit import disk
from retrofit.build.build import build
from retrofit.build.recipe import recipe_for
from retrofit.build.request import BuildRequest
from retrofit.build.work_directory import loop_devices, mount_points, remove_leftovers
from retrofit.config import BuildSettings
from retrofit.disk import gpt
from retrofit.disk.inspect import StockDisk
from retrofit.model import BuiltImage
from tests.component import disks
from tests.component.disks import MIB
from tests.devcloud import stock
from tests.e2e.amphora_images import amphora_image

PAYLOAD = 150 * MIB
# jammy's disk of 2.2 GiB must grow for this; noble's of 3.5 GiB need not.
FREE_SPACE = {"jammy": 1100, "noble": 512}

SCRIPT = f"""#!/bin/bash
set -eu
head -c {PAYLOAD} /dev/urandom > /opt/payload
"""


@dataclass(frozen=True, kw_only=True)
class Retrofitted:
    """A stock image and what became of it, both as raw disks."""

    layout: stock.Layout
    source: StockDisk
    result: StockDisk
    built: BuiltImage | None
    """What the build said of it; None of the image of the main job."""
    work: Path


@pytest.fixture(scope="module")
def elements(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins for the amphora's elements; `stock-image` is the real one."""
    root = tmp_path_factory.mktemp("elements")
    for name in ("amphora", "amphora-agent-distro"):
        (root / name).mkdir()
    script = root / "amphora/install.d/50-payload"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    script.chmod(0o755)
    return root


def settings_for(layout: stock.Layout, elements: Path) -> BuildSettings:
    return BuildSettings(
        element_paths=(elements,), free_space=FREE_SPACE[layout], upgrade=False, format="qcow2"
    )


OWN_BUILDS = [pytest.param(layout, marks=pytest.mark.slow) for layout in ("noble", "jammy")]
of_its_own_build = pytest.mark.parametrize("retrofitted", OWN_BUILDS, indirect=True)


@pytest.fixture(scope="module", params=["main-job", *OWN_BUILDS])
def retrofitted(
    request: pytest.FixtureRequest, elements: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Retrofitted]:
    base = tmp_path_factory.mktemp(request.param)
    if request.param == "main-job":
        layout: stock.Layout = "noble"
        image, built = amphora_image("distro", layout), None
    else:
        layout = request.param
        built = build_of(layout, elements, base)
        image = built.path
    raw = {}
    for name, file in (("source", stock.make(layout)), ("result", image)):
        raw[name] = base / f"{name}.raw"
        disks.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", file, raw[name])
    yield Retrofitted(
        layout=layout,
        source=disk.inspect(raw["source"]),
        result=disk.inspect(raw["result"]),
        built=built,
        work=base / "work",
    )
    for path in raw.values():
        path.unlink()
    if built is not None:
        built.path.unlink()


def build_of(layout: stock.Layout, elements: Path, base: Path) -> BuiltImage:
    settings = settings_for(layout, elements)
    return build(
        BuildRequest(
            source=stock.make(layout),
            recipe=recipe_for(settings),
            settings=settings,
            work_dir=base / "work",
            cache_dir=base / "cache",
            log_file=base / "logs" / "build.log",
        )
    )


def differing_sectors(one: Path, other: Path, begin: int, end: int) -> list[int]:
    found = []
    with one.open("rb") as first, other.open("rb") as second:
        for at in range(begin, end, MIB):
            first.seek(at)
            second.seek(at)
            size = min(MIB, end - at)
            left, right = first.read(size), second.read(size)
            if left != right:
                found += [
                    at + low
                    for low in range(0, size, 512)
                    if left[low : low + 512] != right[low : low + 512]
                ]
    return found


@of_its_own_build
def test_disk_outside_of_the_remade_filesystems_is_identical(retrofitted: Retrofitted) -> None:
    source, result = retrofitted.source, retrofitted.result
    grown = result.virtual_size > source.virtual_size
    assert grown == (retrofitted.layout == "jammy")
    remade = [found.partition for found in source.mounted]
    begin, changed = 0, []
    for partition in sorted(remade, key=lambda p: p.offset):
        changed += differing_sectors(source.path, result.path, begin, partition.offset)
        begin = partition.end
    if grown:
        # Protective MBR (size), primary header, first sector of the entries (root's end).
        assert set(changed) <= {0, 512, 1024}
        before, after = (d.path.open("rb").read(512) for d in (source, result))
        assert before[:446] == after[:446], "MBR boot code"
    else:
        assert changed == []
        assert differing_sectors(source.path, result.path, begin, source.virtual_size) == []


def test_partition_table_is_the_same_but_for_the_end_of_root(retrofitted: Retrofitted) -> None:
    assert "No problems found" in disks.run("sgdisk", "--verify", retrofitted.result.path)
    before, after = gpt.read(retrofitted.source.path), gpt.read(retrofitted.result.path)
    assert before.disk_guid == after.disk_guid
    for old, new in zip(before.partitions, after.partitions, strict=True):
        same_end = old.size == new.size
        assert same_end or old == retrofitted.source.root.partition
        assert (old.slot, old.offset, old.type_guid, old.guid, old.name, old.attributes) == (
            new.slot, new.offset, new.type_guid, new.guid, new.name, new.attributes,
        )  # fmt: skip


def test_filesystems_keep_what_names_them_and_gain_no_feature(retrofitted: Retrofitted) -> None:
    pairs = list(zip(retrofitted.source.mounted, retrofitted.result.mounted, strict=True))
    assert len(pairs) == (2 if retrofitted.layout == "noble" else 1)
    for old, new in pairs:
        assert (old.uuid, old.label, old.mount_point) == (new.uuid, new.label, new.mount_point)
        assert new.superblock.features == old.superblock.features
        assert new.superblock.inode_size == old.superblock.inode_size
        assert new.superblock.block_size == old.superblock.block_size
        assert new.superblock.journal_size == old.superblock.journal_size
        assert new.superblock.clean
        if new.partition.size == old.partition.size:
            assert new.superblock.inodes == old.superblock.inodes


@of_its_own_build
def test_free_space_and_min_disk_are_true(retrofitted: Retrofitted) -> None:
    wanted = FREE_SPACE[retrofitted.layout] * MIB
    available = retrofitted.result.root.superblock.available
    assert available >= wanted
    if retrofitted.layout == "jammy":
        # The size is chosen before the last clean-up, which frees what apt fetched.
        assert available < wanted + 300 * MIB, "grown by more than needed"
    image = retrofitted.built
    assert image is not None
    assert image.virtual_size == retrofitted.result.virtual_size
    assert (image.min_disk - 1) << 30 < image.virtual_size <= image.min_disk << 30


@of_its_own_build
def test_nothing_is_left_but_the_image(retrofitted: Retrofitted) -> None:
    assert mount_points(retrofitted.work) == []
    assert loop_devices(retrofitted.work) == []
    assert [path.name for path in retrofitted.work.iterdir()] == ["amphora.qcow2"]


def test_freed_blocks_take_no_space_in_the_image(retrofitted: Retrofitted) -> None:
    holes = retrofitted.result.path.stat().st_blocks * 512
    used = sum(found.superblock.used for found in retrofitted.result.mounted)
    others = sum(found.partition.size for found in retrofitted.result.others)
    assert holes < used + others + 64 * MIB


@contextmanager
def mounted(examined: StockDisk, at: Path) -> Iterator[Path]:
    at.mkdir()
    undo: list[Path] = []
    try:
        for found in examined.mounted:
            where = at / found.mount_point.strip("/")
            window = f"offset={found.partition.offset},sizelimit={found.partition.size}"
            disks.run("mount", "-o", f"ro,loop,noload,{window}", examined.path, where)
            undo.append(where)
        yield at
    finally:
        for where in reversed(undo):
            disks.run("umount", where)


def facts_of(root: Path) -> dict[str, tuple[object, ...]]:
    """Path -> everything about a file that a copy might lose."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(directory) / name
            info = path.lstat()
            extended = tuple(
                (key, os.getxattr(path, key, follow_symlinks=False))
                for key in sorted(os.listxattr(path, follow_symlinks=False))
            )
            is_file = stat.S_ISREG(info.st_mode)
            relative = str(path.relative_to(root))
            # dpkg writes its lists again to divert what must not start during a build, and back.
            has_time = is_file and not relative.startswith("var/lib/dpkg/")
            found[relative] = (
                oct(info.st_mode),
                info.st_uid,
                info.st_gid,
                info.st_size if is_file else None,
                info.st_nlink if is_file else None,
                int(info.st_mtime) if has_time else None,
                path.readlink() if path.is_symlink() else None,
                extended,
            )
    return found


# What diskimage-builder and `stock-image` may leave, and logs, which are emptied. fstab is taken
# away and put back: its content is looked at apart.
TOUCHED = (
    *("opt/payload", "etc/fstab"),
    *("etc/dib-manifests", "etc/apt/", "etc/dpkg", "etc/resolv.conf", "etc/machine-id"),
    *("tmp", "run/", "var/log/", "var/cache/", "var/lib/apt/"),
    *("lost+found", "boot/lost+found"),
)


@of_its_own_build
def test_files_of_the_source_are_as_they_were(retrofitted: Retrofitted, tmp_path: Path) -> None:
    with (
        mounted(retrofitted.source, tmp_path / "source") as source,
        mounted(retrofitted.result, tmp_path / "result") as result,
    ):
        before, after = facts_of(source), facts_of(result)
        assert (result / "etc/fstab").read_bytes() == (source / "etc/fstab").read_bytes()
        kernels = [path.name for path in (source / "boot").glob("vmlinuz-*")]
        assert kernels
        for kernel in kernels:
            path = Path("boot") / kernel
            assert (result / path).read_bytes() == (source / path).read_bytes()
    assert any(facts[-1] for facts in before.values()), "no file with extended attributes"
    different = {
        path: (before[path], after.get(path))
        for path in before
        if before[path] != after.get(path) and not path.startswith(TOUCHED)
    }
    assert different == {}
    added = {path for path in after if path not in before and not path.startswith(TOUCHED)}
    assert added == set()


CHILD = """
import sys
from pathlib import Path
from tests.e2e.test_layouts import settings_for
from retrofit.build.build import build
from retrofit.build.recipe import recipe_for
from retrofit.build.request import BuildRequest
from retrofit.build.work_directory import work_directory
source, base, elements = map(Path, sys.argv[1:])
settings = settings_for("noble", elements)
with work_directory(base / "work", "20261101T031500Z-0a1b2c") as directory:
    build(BuildRequest(
        source=source, recipe=recipe_for(settings), settings=settings, work_dir=directory,
        cache_dir=base / "cache", log_file=base / "build.log",
        progress=lambda said, _: print(said, flush=True),
    ))
"""


@pytest.mark.parametrize(
    ("phrase", "number"),
    [
        ("copying the source's files", signal.SIGINT),
        pytest.param("installing packages", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("making filesystems", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("making filesystems", signal.SIGKILL, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_interrupted_build_leaves_nothing(
    tmp_path: Path, elements: Path, phrase: str, number: signal.Signals
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, stock.make("noble"), tmp_path, elements],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert child.stdout is not None
    with child:
        assert any(line.strip() == phrase for line in child.stdout), "never came that far"
        time.sleep(1.5)
        child.send_signal(number)
        child.stdout.read()
    assert child.returncode == -number
    if number == signal.SIGKILL:
        assert remove_leftovers(tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []
    assert mount_points(tmp_path) == []
    assert loop_devices(tmp_path) == []
