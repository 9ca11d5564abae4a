"""The environment of a build is exactly what the settings say, and the disk what the source was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from retrofit import disk
from retrofit.config import BuildSettings
from retrofit.dib.plan import BuildPaths, BuildPlan, mkfs_options, plan_build, supervised
from retrofit.dib.recipe import Recipe
from retrofit.disk import ext4, gpt
from retrofit.disk.stock import StockDisk
from tests.unit import disks
from tests.unit.disks import MIB

PATHS = BuildPaths(directory=Path("/work/build"), tools=Path("/opt/retrofit/bin"))


def recipe(**environment: str) -> Recipe:
    return Recipe(
        wanted=("stock-image", "amphora"),
        elements=(),
        environment=environment,
        inputs={},
        output={"format": "qcow2", "free_space": "512"},
    )


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> StockDisk:
    return disk.inspect(disks.noble(tmp_path_factory.mktemp("stock") / "disk"))


def plan(stock: StockDisk, *, tmpfs: bool = True, **settings: Any) -> BuildPlan:
    return plan_build(
        stock,
        recipe(DIB_STOCK_UPGRADE="1", DIB_STOCK_PPAS=""),
        BuildSettings(**settings),
        PATHS,
        architecture="amd64",
        tmpfs=tmpfs,
    )


def test_argv_asks_for_the_elements_in_order(stock: StockDisk) -> None:
    assert plan(stock).argv == (
        "/opt/retrofit/bin/disk-image-create", "-n", "-a", "amd64", "-t", "raw",
        "-o", "/work/build/amphora.raw", "stock-image", "amphora",
    )  # fmt: skip


def test_nothing_of_the_host_environment_is_passed_on(
    stock: StockDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "PIP_INDEX_URL", "http_proxy", "DIB_X"):
        monkeypatch.setenv(name, "leaked")
    assert "leaked" not in plan(stock).environment.values()


def test_features_that_are_off_are_not_set(stock: StockDisk) -> None:
    environment = plan(stock).environment
    assert "DIB_STOCK_PPAS" not in environment
    assert "http_proxy" not in environment
    assert "DIB_AMPHORA_UV" not in environment
    assert environment["DIB_STOCK_UPGRADE"] == "1"


def test_settings_reach_the_elements(stock: StockDisk, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    environment = plan(
        stock,
        agent="pypi",
        agent_constraints=file,
        python_index="http://index/simple",
        apt_sources=file,
        ca_bundle=file,
        archive_mirror="http://mirror/a",
        security_mirror="http://mirror/s",
        cloud_archive_mirror="http://mirror/c",
        http_proxy="http://proxy:1",
        https_proxy="http://proxy:2",
        no_proxy="localhost",
    ).environment
    expected = {
        "DIB_AMPHORA_AGENT_CONSTRAINTS": str(file),
        "DIB_AMPHORA_PYTHON_INDEX": "http://index/simple",
        "DIB_AMPHORA_UV": "/opt/retrofit/bin/uv",
        "DIB_STOCK_APT_SOURCES": str(file),
        "DIB_STOCK_CA_BUNDLE": str(file),
        "DIB_DISTRIBUTION_MIRROR": "http://mirror/a",
        "DIB_STOCK_SECURITY_MIRROR": "http://mirror/s",
        "DIB_STOCK_CLOUD_ARCHIVE_MIRROR": "http://mirror/c",
        "http_proxy": "http://proxy:1",
        "https_proxy": "http://proxy:2",
        "no_proxy": "localhost",
        "DISTRO_NAME": "ubuntu",
        "DIB_RELEASE": "noble",
        "ELEMENTS_PATH": "/work/build/elements",
    }
    assert expected.items() <= environment.items()


def test_relative_paths_mean_the_directory_we_are_in(
    stock: StockDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bundle.pem").touch()
    environment = plan(stock, ca_bundle="bundle.pem").environment
    assert environment["DIB_STOCK_CA_BUNDLE"] == f"{tmp_path}/bundle.pem"


def test_temporary_files_are_where_a_sweep_looks(stock: StockDisk) -> None:
    environment = plan(stock).environment
    assert environment["TMPDIR"] == environment["TMP_DIR"] == "/work/build/tmp"
    assert environment["HOME"] == "/work/build/home"


def test_what_a_build_writes_is_its_own(stock: StockDisk) -> None:
    environment = plan(stock, agent="pypi").environment
    for name in ("DIB_IMAGE_CACHE", "DIB_LOCKFILES"):
        assert environment[name].startswith("/work/build/")
    assert PATHS.archives("ubuntu") == Path(environment["DIB_IMAGE_CACHE"], "apt", "ubuntu")


def test_tmpfs_is_as_decided(stock: StockDisk) -> None:
    assert plan(stock, tmpfs=False).environment["DIB_NO_TMPFS"] == "1"
    assert "DIB_NO_TMPFS" not in plan(stock, tmpfs=True).environment


def test_filesystems_are_where_the_disk_has_them(stock: StockDisk) -> None:
    assert plan(stock).environment["DIB_STOCK_FILESYSTEMS"] == (
        f"{28 * MIB}:{67 * MIB}:ext4:/ {12 * MIB}:{16 * MIB}:ext4:/boot"
    )


def test_block_devices_keep_uuids_and_labels(stock: StockDisk) -> None:
    config = yaml.safe_load(plan(stock).environment["DIB_BLOCK_DEVICE_CONFIG"])
    assert [next(iter(entry)) for entry in config] == ["stock_disk", "mkfs", "mkfs"]
    stock_disk, root, boot = (next(iter(entry.values())) for entry in config)
    assert stock_disk["name"] == "image0"
    assert stock_disk["free_space"] == 512 * MIB
    assert [(e["slot"], e["mount_point"]) for e in stock_disk["extents"]] == [
        (0, "/"),
        (15, "/boot"),
    ]
    assert (root["name"], root["label"], root["uuid"]) == (
        "mkfs_root", "cloudimg-rootfs", disks.ROOT_UUID,
    )  # fmt: skip
    assert (boot["label"], boot["uuid"], boot["mount"]["mount_point"]) == (
        "BOOT", disks.BOOT_UUID, "/boot",
    )  # fmt: skip


def test_diskimage_builder_accepts_the_block_devices(stock: StockDisk) -> None:
    from diskimage_builder.block_device.config import config_tree_to_graph, create_graph

    config = yaml.safe_load(plan(stock).environment["DIB_BLOCK_DEVICE_CONFIG"])
    graph = config_tree_to_graph(config)
    _, order = create_graph(graph, {"mount-base": "/mnt", "build-dir": "/build"}, {})
    names = [node.name for node in order]
    assert names.index("image0") == 0
    assert names.index("stock_boot") < names.index("mkfs_boot") < names.index("mount_boot")
    assert names.index("mount_root") < names.index("mount_boot")


@pytest.mark.parametrize(
    "source",
    [
        ("-O", "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,sparse_super"),
        ("-O", "^metadata_csum,^64bit", "-m", "1", "-I", "128"),
        ("-O", "metadata_csum_seed,orphan_file", "-i", "4096", "-J", "size=8"),
        ("-O", "^has_journal", "-b", "1024"),
    ],
    ids=str,
)
def test_new_filesystem_is_like_the_source_whatever_its_size(
    tmp_path: Path, source: tuple[str, ...]
) -> None:
    old = ext4.superblock(disks.ext4(tmp_path / "old", 64 * MIB, options=source))
    options = tuple(mkfs_options(old).split())
    new = ext4.superblock(disks.ext4(tmp_path / "new", 192 * MIB, options=options))
    assert new.features == old.features
    assert (new.block_size, new.inode_size) == (old.block_size, old.inode_size)
    assert new.journal_size == old.journal_size
    assert new.reserved_blocks / new.blocks == pytest.approx(
        old.reserved_blocks / old.blocks, abs=0.001
    )
    assert new.blocks / new.inodes == pytest.approx(old.blocks / old.inodes, rel=0.1)
    same_size = ext4.superblock(disks.ext4(tmp_path / "same", 64 * MIB, options=options))
    assert same_size.inodes == old.inodes


def test_root_needs_no_sudo_and_others_keep_their_path(stock: StockDisk) -> None:
    planned = plan(stock)
    as_root = supervised(planned, PATHS, root=True)
    assert as_root[0] == "unshare"
    assert as_root[-len(planned.argv) :] == planned.argv
    other = supervised(planned, PATHS, root=False)
    assert other[:4] == ("sudo", "-n", "-E", "env")
    assert other[4].startswith("PATH=/opt/retrofit/bin:")


def test_growing_never_makes_a_partition_smaller_than_asked() -> None:
    partition = gpt.Partition(
        slot=0, offset=12 * MIB + 512, size=1, type_guid="", guid="", name="", attributes=0
    )
    table = gpt.Table(
        disk_guid="", disk_size=20 * MIB, sector_size=512, first_usable=34 * 512,
        last_usable=20 * MIB - 33 * 512, partitions=(partition,),
    )  # fmt: skip
    assert gpt.grown_size(table, partition, 10 * MIB) == 24 * MIB
    assert gpt.grown_size(table, partition, 1) == 20 * MIB
