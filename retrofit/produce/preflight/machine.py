"""Whether this machine can build at all, asked before anything is fetched or changed."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from retrofit import process
from retrofit.config import BuildSettings, PathSettings
from retrofit.dib.plan import SYSTEM_PATH
from retrofit.errors import BuildError
from retrofit.memory import memory

MEBIBYTE = 1024**2
GIBIBYTE = 1024**3
TREE_GROWTH = 3 * GIBIBYTE
"""Bytes that packages, their downloads and a new initramfs may add to the source's tree."""
MEMORY = GIBIBYTE
"""Bytes of memory for dpkg, mkinitramfs and qemu-img, tmpfs not included."""
LITTLE = 16 * MEBIBYTE
"""Bytes that a run may write into the state directory, or as an ordinary run's logs."""
DOWNLOADS = 64 * MEBIBYTE
"""Bytes of packages that a build downloads at least when nothing is cached."""
FILES = 1000
"""Files that a run may make where it keeps things."""

LOOP_DEVICES = 3
"""How many a build attaches at once: the disk, `/` and `/boot` (stock_disk); no other step more."""
LOOP_CONTROL = Path("/dev/loop-control")
LOOP_CTL_GET_FREE = 0x4C82

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
class Place:
    """A directory, the setting that says where it is, and the bytes that it needs to have free."""

    setting: str
    path: Path
    needed: int


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a build takes. Sizes are bytes."""

    disk: int
    tmpfs: int


def needs_for(*, source: int, output_copy: bool) -> Needs:
    """Estimate from the bytes of data in the source: its raw copy, the tree, the result."""
    tree = source + TREE_GROWTH
    return Needs(disk=source + TREE_GROWTH + (tree // 2 if output_copy else 0), tmpfs=tree)


def require_machine(
    architecture: str, *, source: int, settings: BuildSettings, paths: PathSettings
) -> None:
    """Raise BuildError unless this machine can build from a source whose file has so many bytes.

    What its disk takes is known once it is here: then `build` asks for the whole of it.
    """
    require_runnable(architecture)
    check_abilities(Path(sys.executable).parent)
    needs = needs_for(source=source, output_copy=settings.format == "qcow2")
    tmpfs = choose_tmpfs(needs, wanted=settings.tmpfs)
    check_room(
        [
            Place(
                setting="paths.work",
                path=paths.work,
                needed=source + needs.disk + (0 if tmpfs else needs.tmpfs),
            ),
            Place(setting="paths.cache", path=paths.cache, needed=DOWNLOADS),
            Place(setting="paths.logs", path=paths.logs, needed=LITTLE),
            Place(setting="paths.state", path=paths.state, needed=LITTLE),
        ]
    )


def check_abilities(tools: Path) -> None:
    """Raise BuildError unless the tools are here, and we may mount and attach what they need."""
    check_tools(tools)
    check_privilege()
    check_loop_devices()


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


def check_loop_devices(needed: int = LOOP_DEVICES) -> None:
    """Raise BuildError unless so many loop devices can be had, here and now."""
    if not LOOP_CONTROL.exists():
        raise BuildError(
            f"there are no loop devices here: {LOOP_CONTROL} is missing",
            hint="modprobe loop; a container needs the host's /dev",
        )
    try:
        node = _free_loop_device()
        if os.geteuid() == 0:
            node.open("rb").close()
    except (OSError, ValueError, process.CommandError) as error:
        raise BuildError(
            f"no loop device can be had here: {error}",
            hint="a container needs the host's /dev, a systemd unit DeviceAllow=block-loop rwm",
        ) from error
    if _kernel_makes_nodes():
        return
    free = [device for device in Path("/dev").glob("loop[0-9]*") if _is_free(device)]
    if len(free) < needed:
        raise BuildError(
            f"{len(free)} loop devices are free here, and a build needs {needed}",
            hint="detach some (losetup --list), or make nodes: mknod /dev/loop8 b 7 8",
        )


def _free_loop_device() -> Path:
    """Have the kernel name a free one, which it makes where there is none. Raises OSError."""
    if os.geteuid() != 0:
        return Path(process.run(["sudo", "-n", "losetup", "--find"], timeout=30).stdout.strip())
    with LOOP_CONTROL.open("rb") as control:
        return Path(f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}")


def _kernel_makes_nodes() -> bool:
    """Say whether a node appears with each device; a container's own /dev stays as it began."""
    mounts = (line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    kinds = [kind.split()[0] for place, kind in mounts if place.split()[4] == "/dev"]
    return kinds[-1:] == ["devtmpfs"]


def _is_free(device: Path) -> bool:
    backing = Path("/sys/block", device.name, "loop", "backing_file")
    return device.is_block_device() and not backing.exists()


def check_room(places: Iterable[Place]) -> None:
    """Raise BuildError where a filesystem has less than what all the places on it need."""
    sharing: dict[int, list[Place]] = {}
    for place in places:
        sharing.setdefault(_existing(place.path).stat().st_dev, []).append(place)
    for those in sharing.values():
        directory = _existing(those[0].path)
        here = os.statvfs(directory)
        needed = sum(place.needed for place in those)
        free = here.f_bavail * here.f_frsize
        settings = " and ".join(place.setting for place in those)
        if free < needed:
            raise BuildError(
                f"{directory} has {_size(free)} free, and this build needs {_size(needed)}",
                hint=f"free some, or set {settings} to a directory with more",
            )
        # Some filesystems have as many files as there is space, and count none.
        if here.f_files and here.f_favail < FILES:
            raise BuildError(
                f"{directory} has room for {here.f_favail} more files, and a run makes {FILES}",
                hint=f"delete some, or set {settings} to another filesystem",
            )
        for place in those:
            _require_writable(place)


def _require_writable(place: Place) -> None:
    """Raise BuildError unless a file can be made there: a filesystem with errors is read-only."""
    directory = _existing(place.path)
    try:
        with TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise BuildError(
            f"{directory} cannot be written to: {error.strerror}",
            hint=f"run as root; see what the kernel says of that disk, or set {place.setting}",
        ) from error


def check_disk_space(directory: Path, needed: int) -> None:
    """Raise BuildError when `directory` has less than `needed` bytes free."""
    check_room([Place(setting="paths.work", path=directory, needed=needed)])


def _existing(path: Path) -> Path:
    """Return a directory, or the one in which it will be made."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())


def choose_tmpfs(needs: Needs, *, wanted: bool) -> bool:
    """Say whether there is memory to build in. Raises BuildError when there is too little at all.

    A tmpfs holds at most half of the memory (tmpfs(5)), and what it holds counts in our cgroup.
    """
    here = memory()
    if here.available < MEMORY:
        raise BuildError(
            f"{_size(here.available)} of memory is available, and a build needs {_size(MEMORY)}",
            hint="stop something else, or build on a larger machine",
        )
    fits = here.total // 2 >= needs.tmpfs and here.available >= needs.tmpfs + MEMORY
    return wanted and fits


def _size(size: int) -> str:
    return f"{size / GIBIBYTE:.1f} GiB" if size >= GIBIBYTE else f"{size // MEBIBYTE} MiB"
