"""Whether this machine can verify as it is told to, asked before anything is built."""

from __future__ import annotations

import shutil

from retrofit.config import VerifySettings
from retrofit.errors import VerifyError
from retrofit.memory import memory
from retrofit.verify.boot.amphora import KVM
from retrofit.verify.boot.machine import find_firmware, platform_of, resolve_firmware
from retrofit.verify.boot.network import isolated

MEBIBYTE = 1024**2
QEMU_ITSELF = 256
"""MiB of memory that QEMU takes besides its guest's, most of it for translated code."""

# Debian's package for each tool that is run by name.
OFFLINE = {"qemu-img": "qemu-utils", "mount": "mount", "umount": "mount"}
BOOT = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "xorriso": "xorriso",
}


def require_verifiable(settings: VerifySettings, architecture: str) -> None:
    """Raise VerifyError unless an image can be verified here at the level of the settings.

    `architecture` is Glance's word.
    """
    _require_tools(OFFLINE)
    if settings.level == "offline":
        return
    platform = platform_of(architecture)
    _require_tools({**BOOT, platform.emulator: platform.package})
    if resolve_firmware(settings.firmware, platform) == "uefi":
        find_firmware(platform)
    if settings.accelerator == "kvm" and not KVM.exists():
        raise VerifyError(
            f"{KVM} does not exist, and verify.accelerator is kvm",
            hint="set verify.accelerator = auto to boot in emulation where there is no KVM",
        )
    _require_memory(settings.memory + QEMU_ITSELF)
    # Tried rather than looked up: a container may have root without the right to this.
    with isolated():
        pass


def _require_tools(tools: dict[str, str]) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        packages = " ".join(sorted({tools[tool] for tool in missing}))
        raise VerifyError(
            f"cannot verify without {', '.join(missing)}",
            hint=f"apt-get install {packages}; verify.level = offline does not boot the image",
        )


def _require_memory(needed: int) -> None:
    available = memory().available // MEBIBYTE
    if available < needed:
        raise VerifyError(
            f"{available} MiB of memory is available, and the image's trial needs {needed} MiB",
            hint="stop something else, lower verify.memory, or verify on a larger machine",
        )
