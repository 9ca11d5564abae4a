"""What a build needs of disk and memory: asked before a run fetches, and again by the build."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from retrofit.errors import BuildError
from retrofit.system.memory import memory
from retrofit.system.sizes import GIBIBYTE, MEBIBYTE

TREE_GROWTH = 3 * GIBIBYTE
"""Bytes that packages, their downloads and a new initramfs may add to the source's tree."""
MEMORY = GIBIBYTE
"""Bytes of memory for dpkg, mkinitramfs and qemu-img, tmpfs not included."""
SMALL_FILES = 16 * MEBIBYTE
"""Bytes that a run may write to the state directory, or to its logs."""
LEAST_DOWNLOADS = 64 * MEBIBYTE
"""Bytes of packages that a build downloads at least, without a cache."""
FILES = 1000
"""Files that a run may create in one directory."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A directory, its setting, and the bytes that it needs to have free."""

    setting: str
    path: Path
    needed: int


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Bytes that a build needs on disk, and on tmpfs where it uses one."""

    disk: int
    tmpfs: int


def needs_for(*, source: int, output_copy: bool) -> Needs:
    """Estimate the needs of a build from the bytes of data in its source."""
    tree = source + TREE_GROWTH
    return Needs(disk=source + TREE_GROWTH + (tree // 2 if output_copy else 0), tmpfs=tree)


def by_filesystem(places: Iterable[Place]) -> dict[int, list[Place]]:
    """Return the places on each filesystem, by its device number."""
    sharing: dict[int, list[Place]] = {}
    for place in places:
        sharing.setdefault(_existing(place.path).stat().st_dev, []).append(place)
    return sharing


def check_room(places: Iterable[Place], reserved: Mapping[int, int] | None = None) -> None:
    """Raise BuildError where a filesystem has less room than all the places on it need together.

    `reserved` are the bytes that other runs will still write to filesystems, by device number.
    """
    for device, those in by_filesystem(places).items():
        directory = _existing(those[0].path)
        here = os.statvfs(directory)
        needed = sum(place.needed for place in those)
        taken = (reserved or {}).get(device, 0)
        free = max(0, here.f_bavail * here.f_frsize - taken)
        settings = " and ".join(place.setting for place in those)
        if free < needed:
            raise BuildError(
                f"{directory} has {_size(free)} free{_besides(taken)}, and this build needs"
                f" {_size(needed)}",
                hint=f"free some, or set {settings} to a directory with more",
            )
        # Some filesystems have as many files as there is space, and count none.
        if here.f_files and here.f_favail < FILES:
            raise BuildError(
                f"{directory} has room for {here.f_favail} more files, and a run needs {FILES}",
                hint=f"delete some, or set {settings} to another filesystem",
            )
        for place in those:
            _require_writable(place)


def _require_writable(place: Place) -> None:
    """Raise BuildError unless a file can be created: a filesystem with errors is read-only."""
    directory = _existing(place.path)
    try:
        with TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise BuildError(
            f"{directory} cannot be written to: {error.strerror}",
            hint=f"run as root, see the kernel log for errors of the disk, or set {place.setting}",
        ) from error


def check_disk_space(directory: Path, needed: int) -> None:
    """Raise BuildError when `directory` has less than `needed` bytes free."""
    check_room([Place(setting="paths.work", path=directory, needed=needed)])


def _existing(path: Path) -> Path:
    """Return a directory, or the nearest parent that exists."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())


def choose_tmpfs(needs: Needs, *, wanted: bool, reserved: int = 0, granted: int = 0) -> bool:
    """Return True to build in memory. Raises BuildError when there is too little for any build.

    A tmpfs holds at most half of the memory (tmpfs(5)), and its content counts in our cgroup.
    `reserved` are the bytes that other runs have reserved, `granted` those that this run has
    already: they are not taken from it where others use theirs, which then counts twice.
    """
    here = memory()
    available = max(0, here.available - reserved, min(here.available, granted))
    if available < MEMORY:
        raise BuildError(
            f"{_size(available)} of memory is available{_besides(reserved)}, and a build needs"
            f" {_size(MEMORY)}",
            hint="stop something else, or build on a larger machine"
            + ("; or lower worker.parallel" if reserved else ""),
        )
    fits = here.total // 2 >= needs.tmpfs and available >= needs.tmpfs + MEMORY
    return wanted and fits


def _besides(reserved: int) -> str:
    return f" besides the {_size(reserved)} that other runs have reserved" if reserved else ""


def _size(size: int) -> str:
    return f"{size / GIBIBYTE:.1f} GiB" if size >= GIBIBYTE else f"{size // MEBIBYTE} MiB"
