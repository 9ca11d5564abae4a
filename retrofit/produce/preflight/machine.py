"""What a build needs of its machine: programs, mounts, loop devices, and a sudo that works."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from retrofit.build.command import SYSTEM_PATH
from retrofit.build.handover import provide_sudo
from retrofit.errors import BuildError
from retrofit.system import process
from retrofit.system.privilege import as_root

LOOP_DEVICES = 3
"""Devices that a build attaches at once: the disk, `/` and `/boot` (dib/stock_disk.py)."""
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
}
TOOLS_OF_OTHERS = {"sudo": "sudo"}
"""Tools for users other than root; a build as root brings its own sudo."""

# `true` would do under AppArmor's profile for unshare, which Ubuntu has since 24.04: unshare may do
# everything, and what it starts has no capability, root's included.
TRY_MOUNT = """
mount -t tmpfs retrofit /proc && exit
read -r label < /proc/$$/attr/current
echo "AppArmor profile: $label"
exit 1
"""
UNSHARE_PROFILE = re.compile(r"^AppArmor profile: (\S*unshare\S*)", re.MULTILINE)


def check_abilities(tools: Path | None = None) -> None:
    """Raise BuildError unless the tools are installed, and we may mount and attach loop devices."""
    check_tools(tools)
    check_privilege()
    check_sudo()
    check_loop_devices()


def check_tools(tools: Path | None = None) -> None:
    """Raise BuildError with every missing tool and its Debian package.

    `tools` is the directory of our own programs; without it, that of this Python.
    """
    tools = tools or Path(sys.executable).parent
    path = f"{tools}:{SYSTEM_PATH}"
    needed = TOOLS if os.geteuid() == 0 else TOOLS | TOOLS_OF_OTHERS
    missing = [tool for tool in needed if shutil.which(tool, path=path) is None]
    if missing:
        packages = " ".join(sorted({needed[tool] for tool in missing}))
        raise BuildError(
            f"cannot build without {', '.join(missing)}", hint=f"apt-get install {packages}"
        )
    if not (tools / "disk-image-create").exists():
        raise BuildError(
            f"there is no disk-image-create in {tools}",
            hint="install diskimage-builder into the same virtual environment as retrofit",
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
    # With the flag F the kernel holds the emulator open: the chroot does not need it.
    if "enabled" in lines and any(line.startswith("flags:") and "F" in line for line in lines):
        return
    raise BuildError(
        f"this machine is {host} and cannot run programs of {architecture}",
        hint="run this target on a machine of that architecture, or install qemu-user-static and"
        " binfmt-support here (slow)",
    )


def check_privilege() -> None:
    """Raise BuildError unless this process may mount: as root, or by sudo without a password."""
    # Tried rather than looked up: a container may have root without the right to mount.
    apart = ("unshare", "--mount", "--pid", "--fork", "--mount-proc")
    try:
        process.run(as_root(*apart, "sh", "-c", f"exec 1>&2{TRY_MOUNT}"), timeout=30)
    except process.CommandError as error:
        if profile := UNSHARE_PROFILE.search(error.stderr):
            raise BuildError(
                "cannot mount filesystems here: AppArmor takes the rights of programs under unshare"
                f" (profile {profile[1]})",
                hint="as root: ln -s /etc/apparmor.d/unshare-userns-restrict"
                " /etc/apparmor.d/disable/ && apparmor_parser -R"
                " /etc/apparmor.d/unshare-userns-restrict",
            ) from error
        raise BuildError(
            f"cannot mount filesystems here: {error}",
            hint="build as root or with passwordless sudo; a container must be privileged",
        ) from error


def check_sudo() -> None:
    """Raise BuildError unless the sudo that a build brings hands an environment on.

    What runs disk-image-create is root, and its elements call `sudo -E`: sudo-rs ignores that.
    """
    with TemporaryDirectory(prefix="retrofit-sudo.") as directory:
        provide_sudo(Path(directory))
        words = as_root(
            *("env", "-i", f"PATH={directory}:{SYSTEM_PATH}", "DIB_RETROFIT_TRIED=arrived"),
            *("sudo", "-n", "-E", "env"),
        )
        try:
            arrived = process.run(words, timeout=30).stdout.splitlines()
        except process.CommandError as error:
            raise BuildError(
                f"the build's own sudo does not work: {error}",
                hint="mount TMPDIR without noexec; as another user than root, sudo must run env"
                " without a password",
            ) from error
    if "DIB_RETROFIT_TRIED=arrived" not in arrived:
        raise BuildError(
            "sudo drops the environment, so that settings do not reach the build's chroot",
            hint="put no other sudo into the place of the build's own; as root, none is needed",
        )


def check_loop_devices(needed: int = LOOP_DEVICES) -> None:
    """Raise BuildError unless `needed` loop devices can be attached now."""
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
            f"cannot get a loop device here: {error}",
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
    """Return a free loop device, which the kernel creates if there is none. Raises OSError."""
    if os.geteuid() != 0:
        return Path(process.run(as_root("losetup", "--find"), timeout=30).stdout.strip())
    with LOOP_CONTROL.open("rb") as control:
        return Path(f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}")


def _kernel_makes_nodes() -> bool:
    """Return True if each device gets a node by itself; not so in a container's own /dev."""
    mounts = (line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    kinds = [kind.split()[0] for place, kind in mounts if place.split()[4] == "/dev"]
    return kinds[-1:] == ["devtmpfs"]


def _is_free(device: Path) -> bool:
    backing = Path("/sys/block", device.name, "loop", "backing_file")
    return device.is_block_device() and not backing.exists()
