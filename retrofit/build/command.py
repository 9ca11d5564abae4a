"""Turn a source disk, a recipe and settings into the argv and environment of a build; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from retrofit.build.recipe import Recipe
from retrofit.config import BuildSettings
from retrofit.disk import Filesystem, StockDisk, Superblock
from retrofit.system.sizes import MEBIBYTE

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STOP_GRACE = 45
"""Seconds that disk-image-create gets to clean up; less than `process.TERM_GRACE`."""


@dataclass(frozen=True, kw_only=True)
class BuildPaths:
    """The files of one build; all but the tools are below `directory`, its own."""

    directory: Path
    tools: Path

    @property
    def disk(self) -> Path:
        """Return the raw copy of the source, which becomes the result."""
        return self.directory / "source.raw"

    @property
    def result(self) -> Path:
        """Return the file that disk-image-create leaves."""
        return self.directory / "amphora.raw"

    @property
    def elements(self) -> Path:
        """Return the directory that has copies of the recipe's elements."""
        return self.directory / "elements"

    @property
    def temporary(self) -> Path:
        """Return the directory that disk-image-create makes its own in."""
        return self.directory / "tmp"

    @property
    def home(self) -> Path:
        """Return an empty home: nothing of the operator's own may reach an image."""
        return self.directory / "home"

    @property
    def cache(self) -> Path:
        """Return diskimage-builder's cache directory, which its elements mount into the image."""
        return self.directory / "cache"

    def archives(self, distribution: str) -> Path:
        """Return the directory that apt downloads packages to, in the image."""
        return self.cache / "apt" / distribution

    @property
    def manifest(self) -> Path:
        """Return the list of installed packages that the elements write."""
        return self.directory / "manifest"

    @property
    def facts(self) -> Path:
        """Return the JSON file to which the elements write versions and other facts."""
        return self.directory / "facts.json"

    @property
    def evidence(self) -> Path:
        """Return the tar file to which an element writes packages, their sources, and keys."""
        return self.directory / "evidence.tar"

    @property
    def programs(self) -> Path:
        """Return the directory of programs that the build finds before all others: a sudo."""
        return self.directory / "bin"

    @property
    def environment(self) -> Path:
        """Return the file with the environment of the build, which supervise reads and deletes."""
        return self.directory / "environment"

    @property
    def settings(self) -> Path:
        """Return the list with which an element compares what arrived in the chroot."""
        return self.directory / "settings"

    @property
    def lock(self) -> Path:
        """Return the file that is locked as long as a process of the build lives."""
        return self.directory / ".lock"


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """Argv and environment of disk-image-create."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


def plan_build(
    source_disk: StockDisk,
    recipe: Recipe,
    settings: BuildSettings,
    paths: BuildPaths,
    *,
    architecture: str,
    tmpfs: bool,
) -> BuildPlan:
    """Decide how to run disk-image-create. `architecture` is Debian's name of it."""
    argv = (
        str(paths.tools / "disk-image-create"),
        "-n",
        *("-a", architecture, "-t", "raw", "-o", str(paths.result)),
        *recipe.wanted,
    )
    environment = {
        **_base(paths),
        **_how(settings, paths, tmpfs=tmpfs),
        **_source(source_disk, recipe),
        **recipe.environment,
        **_agent(settings, paths),
        "DISTRO_NAME": source_disk.os.id,
        "DIB_RELEASE": source_disk.os.codename,
        "ELEMENTS_PATH": str(paths.elements),
        "DIB_STOCK_MANIFEST": str(paths.manifest),
        "DIB_STOCK_FACTS": str(paths.facts),
        "DIB_STOCK_EVIDENCE": str(paths.evidence),
        "DIB_STOCK_SETTINGS": str(paths.settings),
    }
    return BuildPlan(argv=argv, environment={k: v for k, v in environment.items() if v})


def supervised_argv(plan: BuildPlan, paths: BuildPaths, *, root: bool) -> tuple[str, ...]:
    """Return the argv that runs a plan in namespaces of its own, by sudo where need be.

    The build's mounts are visible in them only, and end with it, as its processes do. Its
    environment is in a file: what sudo keeps of one is a matter of its policy and version.
    """
    sudo = () if root else ("sudo", "-n")
    return (
        *sudo,
        *("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"),
        *(str(paths.tools / "python"), "-m", "retrofit.dib.supervise"),
        *(str(paths.lock), str(STOP_GRACE), str(paths.environment)),
        *plan.argv,
    )


def _base(paths: BuildPaths) -> dict[str, str]:
    """Return the variables of every build; our own, such as REQUESTS_CA_BUNDLE, stay outside."""
    return {
        "PATH": f"{paths.programs}:{paths.tools}:{SYSTEM_PATH}",
        "HOME": str(paths.home),
        "USER": "root",
        "LOGNAME": "root",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        # disk-image-create asks for TMP_DIR, and mktemp -t prefers TMPDIR.
        "TMPDIR": str(paths.temporary),
        "TMP_DIR": str(paths.temporary),
        "DIB_LOCKFILES": str(paths.directory / "lockfiles"),
        "DIB_PYTHON_EXEC": str(paths.tools / "python"),
        "DIB_IMAGE_CACHE": str(paths.cache),
        "DIB_APT_LOCAL_CACHE": "1",
        "DIB_DISABLE_APT_CLEANUP": "1",
        "DEBIAN_FRONTEND": "noninteractive",
    }


def _how(settings: BuildSettings, paths: BuildPaths, *, tmpfs: bool) -> dict[str, str]:
    """Return the variables that decide how an image is built, and leave no trace in it."""
    return {
        # Whether there is enough memory was decided before; 1 makes disk-image-create agree.
        **({"DIB_MIN_TMPFS": "1"} if tmpfs else {"DIB_NO_TMPFS": "1"}),
        "DIB_STOCK_DISK": str(paths.disk),
        "DIB_STOCK_APT_SOURCES": _absolute(settings.apt_sources),
        "DIB_STOCK_CA_BUNDLE": _absolute(settings.ca_bundle),
        "DIB_DISTRIBUTION_MIRROR": settings.archive_mirror or "",
        "DIB_STOCK_SECURITY_MIRROR": settings.security_mirror or "",
        "DIB_STOCK_CLOUD_ARCHIVE_MIRROR": settings.cloud_archive_mirror or "",
        "DIB_STOCK_CLOUD_ARCHIVE_KEY": _absolute(settings.cloud_archive_key),
        "http_proxy": settings.http_proxy or "",
        "https_proxy": settings.https_proxy or "",
        "no_proxy": settings.no_proxy or "",
    }


def _agent(settings: BuildSettings, paths: BuildPaths) -> dict[str, str]:
    if settings.agent != "pypi":
        return {}
    return {
        "DIB_AMPHORA_AGENT_CONSTRAINTS": _absolute(settings.agent_constraints),
        "DIB_AMPHORA_PYTHON_INDEX": settings.python_index or "",
        "DIB_AMPHORA_UV": str(paths.tools / "uv"),
    }


def _absolute(path: Path | None) -> str:
    # The build has a working directory of its own.
    return str(path.absolute()) if path else ""


def _source(source_disk: StockDisk, recipe: Recipe) -> dict[str, str]:
    config = block_device_config(
        source_disk, free_space=int(recipe.output["free_space"]) * MEBIBYTE
    )
    filesystems = (
        f"{found.partition.offset}:{found.partition.size}:{found.type}:{found.mount_point}"
        for found in source_disk.mounted
    )
    return {
        "DIB_STOCK_FILESYSTEMS": " ".join(filesystems),
        "DIB_BLOCK_DEVICE_CONFIG": yaml.safe_dump(config, sort_keys=False),
    }


def block_device_config(source_disk: StockDisk, *, free_space: int) -> list[dict[str, Any]]:
    """Return DIB_BLOCK_DEVICE_CONFIG: the source disk with its filesystems made anew.

    `free_space` is in bytes. The names `image0` and `mkfs_root` are diskimage-builder's own.
    """
    extents = [
        {
            "name": _name("stock", found),
            "slot": found.partition.slot,
            "mount_point": found.mount_point,
            "mkfs": mkfs_options(found.superblock),
        }
        for found in source_disk.mounted
    ]
    disk = {
        "stock_disk": {
            "name": "image0",
            "image": str(source_disk.path),
            "free_space": free_space,
            "extents": extents,
        }
    }
    return [disk, *(_mkfs(found) for found in source_disk.mounted)]


def _name(prefix: str, found: Filesystem) -> str:
    return f"{prefix}_{found.mount_point.strip('/').replace('/', '_') or 'root'}"


def _mkfs(found: Filesystem) -> dict[str, Any]:
    return {
        "mkfs": {
            "name": _name("mkfs", found),
            "base": _name("stock", found),
            "type": found.type,
            "label": found.label,
            "uuid": found.uuid,
            "opts": f"-F {mkfs_options(found.superblock)}",
            "mount": {"name": _name("mount", found), "mount_point": found.mount_point},
        }
    }


def mkfs_options(like: Superblock) -> str:
    """Return options for mkfs.ext4 that make a filesystem like this one, whatever its size.

    Not one feature more: a newer mkfs.ext4 has defaults that an older GRUB or kernel cannot read.
    """
    reserved = round(100 * like.reserved_blocks / like.blocks, 1)
    options = [
        *("-O", ",".join(("none", *like.features))),
        *("-b", str(like.block_size)),
        *("-I", str(like.inode_size)),
        *("-i", str(-(-like.blocks * like.block_size // like.inodes))),
        *("-m", f"{reserved:g}"),
    ]
    if "has_journal" in like.features and like.journal_size:
        options += ["-J", f"size={like.journal_size // MEBIBYTE}"]
    return " ".join(options)
