"""What a verification needs of its machine: programs, firmware, KVM, a network of its own."""

from __future__ import annotations

import shutil
import socket

from retrofit.config import VerifySettings
from retrofit.errors import VerifyError
from retrofit.produce.preflight.tries import DoubtError
from retrofit.system import process
from retrofit.verify.boot import kvm, vrrp
from retrofit.verify.boot.machine import find_firmware, platform_of, resolve_firmware
from retrofit.verify.boot.network import Namespace, isolated

RAW_PROTOCOLS = (
    (socket.IPPROTO_ICMPV6, True),
    (socket.IPPROTO_SCTP, False),
    (vrrp.PROTOCOL, False),
)
"""Router advertisements, SCTP and VRRP; True for IPv6."""

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
    if settings.accelerator == "kvm" and not kvm.DEVICE.exists():
        raise VerifyError(
            f"{kvm.DEVICE} does not exist, and verify.accelerator is kvm",
            hint="set verify.accelerator = auto to boot in emulation where there is no KVM",
        )
    # Tried rather than looked up: a container may have root without the right to this.
    with isolated() as namespace:
        if settings.level == "full":
            _require_full(namespace)


def try_kvm(settings: VerifySettings, architecture: str) -> str:
    """Start a machine without anything on KVM, as a boot will, and return what is known then.

    Raises VerifyError where it does not start and has to, DoubtError where emulation takes over.
    """
    if settings.level == "offline":
        return "not needed: verify.level is offline"
    if settings.accelerator == "tcg":
        return "not needed: verify.accelerator is tcg"
    if not kvm.DEVICE.exists():
        return f"{kvm.DEVICE} does not exist: the image is booted in emulation"
    way_out = (
        "load the module of this processor (kvm_intel, kvm_amd), turn virtualization on in the"
        " firmware or nested virtualization on the host, and run as root or in group kvm"
    )
    try:
        slow = kvm.start(platform_of(architecture))
    except process.CommandError as error:
        what = f"{kvm.DEVICE} is there and does not work: {kvm.reason(error)}"
        if settings.accelerator == "kvm":
            raise VerifyError(
                what, hint=f"{way_out}; or set verify.accelerator = auto, which emulates then"
            ) from error
        raise DoubtError(
            f"{what}; the image is booted in emulation, which takes longer", hint=way_out
        ) from error
    if slow is not None:
        raise DoubtError(f"{kvm.DEVICE} is slower than emulation: {slow}", hint=way_out)
    return "a machine starts on it"


def _require_full(namespace: Namespace) -> None:
    """Raise VerifyError unless the checks of level `full` can be made in this network."""
    if not namespace.ipv6:
        raise VerifyError(
            "this kernel has no IPv6, and verify.level is full",
            hint="boot without ipv6.disable=1, enable it in net.ipv6.conf.default.disable_ipv6, or"
            " set verify.level = boot",
        )
    try:
        for protocol, ipv6 in RAW_PROTOCOLS:
            namespace.open_socket(socket.SOCK_RAW, protocol=protocol, ipv6=ipv6).close()
    except OSError as error:
        raise VerifyError(
            f"raw sockets cannot be opened ({error.strerror}), and verify.level is full",
            hint="give the container --cap-add NET_RAW; for systemd units, run retrofit-scheduler"
            " install again; or set verify.level = boot",
        ) from error


def _require_tools(tools: dict[str, str]) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        packages = " ".join(sorted({tools[tool] for tool in missing}))
        raise VerifyError(
            f"cannot verify without {', '.join(missing)}",
            hint=f"apt-get install {packages}; verify.level = offline does not boot the image",
        )
