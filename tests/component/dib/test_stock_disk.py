"""The disk is made to fit the tree before anything is attached; only root's end may move."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from diskimage_builder.block_device.exception import BlockDeviceSetupException

from retrofit import disk
from retrofit.build.command import block_device_config
from retrofit.dib.stock_disk import StockDisk
from retrofit.disk import gpt
from tests.component import disks
from tests.component.disks import MIB

# The size of a tree is taken as a build takes it: with root's rights.
pytestmark = pytest.mark.root


def fit(path: Path, build_dir: Path, *, free_space: int) -> None:
    """Do what comes before root's rights are needed."""
    config = block_device_config(disk.inspect(path), free_space=free_space)
    settings = next(entry["stock_disk"] for entry in config if "stock_disk" in entry)
    plugin = StockDisk(settings, {"build-dir": str(build_dir)}, {})
    plugin.nodes[0].fit_to_tree()


def files(directory: Path, size: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "file").write_bytes(b"x" * size)


@pytest.fixture
def build_dir(tmp_path: Path) -> Path:
    files(tmp_path / "dib/built/usr", MIB)
    (tmp_path / "dib/built/boot").mkdir()
    return tmp_path / "dib"


def sizes(path: Path) -> dict[int, int]:
    return {found.number: found.size for found in gpt.read(path).partitions}


def test_disk_that_is_large_enough_is_not_touched(tmp_path: Path, build_dir: Path) -> None:
    path = disks.jammy(tmp_path / "disk", size=256 * MIB)
    before = path.read_bytes()
    fit(path, build_dir, free_space=64 * MIB)
    assert path.read_bytes() == before


def test_root_grows_for_tree_free_space_and_late_writes(tmp_path: Path, build_dir: Path) -> None:
    path = disks.noble(tmp_path / "disk")
    before = sizes(path)
    files(build_dir / "built/opt", 30 * MIB)
    fit(path, build_dir, free_space=100 * MIB)
    after = sizes(path)
    assert after.pop(1) > 30 * MIB + 100 * MIB + 64 * MIB
    assert after == {number: size for number, size in before.items() if number != 1}


def test_files_of_boot_do_not_count_for_root(tmp_path: Path, build_dir: Path) -> None:
    path = disks.noble(tmp_path / "disk", size=200 * MIB)
    files(build_dir / "built/boot", 9 * MIB)
    before = sizes(path)
    fit(path, build_dir, free_space=70 * MIB)
    assert sizes(path) == before


def test_boot_that_is_too_small_is_said(tmp_path: Path, build_dir: Path) -> None:
    path = disks.noble(tmp_path / "disk")
    files(build_dir / "built/boot", 40 * MIB)
    message = r"/boot needs \d+ MiB, but its partition has 16 MiB; only the root partition can grow"
    with pytest.raises(BlockDeviceSetupException, match=message):
        fit(path, build_dir, free_space=64 * MIB)


def test_root_with_a_partition_behind_it_is_said(tmp_path: Path, build_dir: Path) -> None:
    path = disks.jammy(tmp_path / "disk")
    content = path.read_bytes()
    disks.gpt(
        path, 80 * MIB, disks.JAMMY.replace("24576,", "24576, size=104448,") + "start=129024\n"
    )
    disks.write_at(path, 12 * MIB, content[12 * MIB : 63 * MIB])
    with pytest.raises(
        BlockDeviceSetupException, match=r"but partition 1 cannot grow: 2 lies behind"
    ):
        fit(path, build_dir, free_space=64 * MIB)


def test_undo_never_detaches_a_device_of_somebody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = StockDisk(
        {"name": "image0", "image": str(tmp_path / "disk"), "free_space": 0, "extents": []},
        {"build-dir": str(tmp_path)},
        {},
    )
    node: Any = plugin.nodes[0]
    node.device = "/dev/loop-that-is-gone"
    with caplog.at_level(logging.INFO):
        node.umount()
        node.umount()
    assert "Detached" not in caplog.text
