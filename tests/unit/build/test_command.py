"""The environment of a build is exactly what the settings say, and the disk what the source was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from retrofit.build.command import BuildPaths, BuildPlan, plan_build, supervised_argv
from retrofit.build.recipe import Recipe
from retrofit.config import BuildSettings
from retrofit.disk import ext4, gpt
from retrofit.disk.inspect import Filesystem, StockDisk
from retrofit.disk.os_release import OsRelease

MIB = 1024 * 1024
ROOT_UUID = "11111111-2222-4333-8444-555555555555"
BOOT_UUID = "99999999-2222-4333-8444-555555555555"
PATHS = BuildPaths(directory=Path("/work/build"), tools=Path("/opt/retrofit/bin"))


def recipe(**environment: str) -> Recipe:
    return Recipe(
        wanted=("stock-image", "amphora"),
        elements=(),
        environment=environment,
        inputs={},
        output={"format": "qcow2", "free_space": "512"},
    )


def partition(number: int, *, offset: int, size: int) -> gpt.Partition:
    return gpt.Partition(
        slot=number - 1, offset=offset, size=size, type_guid="", guid="", name="", attributes=0
    )


def filesystem(found: gpt.Partition, mount_point: str, label: str, uuid: str) -> Filesystem:
    superblock = ext4.Superblock(
        uuid=uuid, label=label, features=("has_journal", "extent"), block_size=4096,
        blocks=found.size // 4096, free_blocks=1000, reserved_blocks=0, inodes=4096,
        inode_size=256, journal_size=4 * MIB, clean=True,
    )  # fmt: skip
    return Filesystem(
        partition=found, type="ext4", uuid=uuid, label=label, superblock=superblock,
        mount_point=mount_point,
    )  # fmt: skip


@pytest.fixture
def stock() -> StockDisk:
    """noble's layout: /boot on a partition of its own, and root behind it."""
    root = partition(1, offset=28 * MIB, size=67 * MIB)
    boot = partition(16, offset=12 * MIB, size=16 * MIB)
    return StockDisk(
        path=Path("/source/disk"),
        virtual_size=96 * MIB,
        sector_size=512,
        partitions=(root, boot),
        mounted=(
            filesystem(root, "/", "cloudimg-rootfs", ROOT_UUID),
            filesystem(boot, "/boot", "BOOT", BOOT_UUID),
        ),
        others=(),
        os=OsRelease(id="ubuntu", version_id="24.04", codename="noble"),
    )


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
        cloud_archive_key=file,
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
        "DIB_STOCK_CLOUD_ARCHIVE_KEY": str(file),
        "http_proxy": "http://proxy:1",
        "https_proxy": "http://proxy:2",
        "no_proxy": "localhost",
        "DISTRO_NAME": "ubuntu",
        "DIB_RELEASE": "noble",
        "ELEMENTS_PATH": "/work/build/elements",
    }
    assert expected.items() <= environment.items()


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
        "mkfs_root", "cloudimg-rootfs", ROOT_UUID,
    )  # fmt: skip
    assert (boot["label"], boot["uuid"], boot["mount"]["mount_point"]) == (
        "BOOT", BOOT_UUID, "/boot",
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


def test_root_needs_no_sudo_and_others_need_nothing_of_its_policy(stock: StockDisk) -> None:
    planned = plan(stock, http_proxy="http://user:secret@proxy.example:3128")
    as_root = supervised_argv(planned, PATHS, root=True)
    assert as_root[0] == "unshare"
    assert as_root[-len(planned.argv) :] == planned.argv
    other = supervised_argv(planned, PATHS, root=False)
    assert other == ("sudo", "-n", *as_root)
    assert str(PATHS.environment) in as_root
    assert not any("secret" in word for word in other)


def test_a_build_finds_its_own_sudo_before_any_other(stock: StockDisk) -> None:
    first, *_ = plan(stock).environment["PATH"].split(":")
    assert first == str(PATHS.programs)


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
