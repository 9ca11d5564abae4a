"""Whether this machine can build at all, asked before anything is changed."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from retrofit import process
from retrofit.dib.plan import SYSTEM_PATH
from retrofit.errors import BuildError

GIBIBYTE = 1024**3
TREE_GROWTH = 3 * GIBIBYTE
"""Bytes that packages, their downloads and a new initramfs may add to the source's tree."""
MEMORY = GIBIBYTE
"""Bytes of memory for dpkg, mkinitramfs and qemu-img, tmpfs not included."""

BINFMT = Path("/proc/sys/fs/binfmt_misc")
EMULATORS = {"armv7l": "arm"}
"""Glance's architecture -> QEMU's name of it, where the two differ."""

# Debian's package for each tool that is run by name.
TOOLS = {
    "qemu-img": "qemu-utils",
    "mkfs.ext4": "e2fsprogs",
    "dumpe2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "blkid": "util-linux",
    "losetup": "mount",
    "mount": "mount",
    "unshare": "util-linux",
    "fallocate": "util-linux",
    "fstrim": "util-linux",
    "find": "findutils",
    # disk-image-create calls it even as root.
    "sudo": "sudo",
}


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a build takes. Sizes are bytes."""

    disk: int
    tmpfs: int


def needs_for(*, source: int, output_copy: bool) -> Needs:
    """Estimate from the bytes of data in the source: its raw copy, the tree, the result."""
    tree = source + TREE_GROWTH
    return Needs(disk=source + TREE_GROWTH + (tree // 2 if output_copy else 0), tmpfs=tree)


def check_tools(tools: Path) -> None:
    """Raise BuildError that names every tool which is missing, and its Debian package."""
    path = f"{tools}:{SYSTEM_PATH}"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if missing:
        packages = " ".join(sorted({TOOLS[tool] for tool in missing}))
        raise BuildError(
            f"cannot build without {', '.join(missing)}", hint=f"apt-get install {packages}"
        )
    if not (tools / "disk-image-create").exists():
        raise BuildError(
            f"there is no disk-image-create in {tools}",
            hint="diskimage-builder belongs into the same environment as retrofit",
        )


def require_runnable(architecture: str) -> None:
    """Raise BuildError unless programs of a Glance architecture run here, in a chroot too."""
    host = platform.machine()
    if architecture == host:
        return
    emulator = BINFMT / f"qemu-{EMULATORS.get(architecture, architecture)}"
    try:
        lines = emulator.read_text().splitlines()
    except OSError:
        lines = []
    # With the flag F the kernel holds the emulator open: it need not be there in the chroot.
    if "enabled" in lines and any(line.startswith("flags:") and "F" in line for line in lines):
        return
    raise BuildError(
        f"this machine is {host} and cannot run programs of {architecture}",
        hint="run this target on a machine of that architecture, or install qemu-user-static and"
        " binfmt-support here (slow)",
    )


def check_privilege() -> None:
    """Raise BuildError unless this process may mount: as root, or by sudo without a password."""
    sudo = () if os.geteuid() == 0 else ("sudo", "-n")
    # Tried rather than looked up: a container may have root without the right to mount.
    try:
        process.run(
            [*sudo, "unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"], timeout=30
        )
    except process.CommandError as error:
        raise BuildError(
            f"cannot mount filesystems here: {error}",
            hint="build as root or with passwordless sudo; a container must be privileged",
        ) from error
    if not Path("/dev/loop-control").exists():
        raise BuildError(
            "there are no loop devices here: /dev/loop-control is missing",
            hint="modprobe loop; a container needs the host's /dev",
        )


def check_disk_space(directory: Path, needed: int) -> None:
    """Raise BuildError when `directory` has less than `needed` bytes free."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise BuildError(
            f"{directory} has {_gib(free)} GiB free, and this build needs {_gib(needed)} GiB",
            hint="free some, or set paths.work to a directory with more",
        )


def choose_tmpfs(needs: Needs, *, wanted: bool) -> bool:
    """Say whether there is memory to build in. Raises BuildError when there is too little at all.

    A tmpfs holds at most half of the memory (tmpfs(5)), and what it holds counts in our cgroup.
    """
    total, available = _memory()
    if available < MEMORY:
        raise BuildError(
            f"{_gib(available)} GiB of memory is available, and a build needs {_gib(MEMORY)} GiB",
            hint="stop something else, or build on a larger machine",
        )
    return wanted and total // 2 >= needs.tmpfs and available >= needs.tmpfs + MEMORY


def _memory() -> tuple[int, int]:
    fields = dict(
        line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line
    )
    total, available = (int(fields[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    limit = _cgroup_limit()
    return total, available if limit is None else min(available, limit)


def _cgroup_limit() -> int | None:
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
        directory = Path("/sys/fs/cgroup") / group.lstrip("/")
        limit = (directory / "memory.max").read_text().strip()
        used = int((directory / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used)


def _gib(size: int) -> str:
    return f"{size / GIBIBYTE:.1f}"
