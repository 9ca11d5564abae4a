"""What a verification needs of its machine: programs, firmware, KVM, a network of its own."""

from __future__ import annotations

import os
import select
import shutil
import socket
import time

from retrofit.config import VerifySettings
from retrofit.errors import VerifyError
from retrofit.produce.preflight.tries import DoubtError
from retrofit.system import process
from retrofit.system.tied import tied
from retrofit.verify.boot import vrrp
from retrofit.verify.boot.amphora import KVM
from retrofit.verify.boot.machine import (
    Accelerator,
    Platform,
    find_firmware,
    platform_of,
    resolve_firmware,
)
from retrofit.verify.boot.network import Namespace, isolated

RAW_PROTOCOLS = (
    (socket.IPPROTO_ICMPV6, True),
    (socket.IPPROTO_SCTP, False),
    (vrrp.PROTOCOL, False),
)
"""Router advertisements, SCTP and VRRP; True for IPv6."""

KVM_LIMIT = 20.0
"""Seconds in which QEMU has long started a machine that does nothing."""
BIOS_ENDS = b"No bootable device"
"""The last words of SeaBIOS at its debug port, of a machine without disks."""
SLOWER = 3.0
"""Times as slow as emulation: so slow a KVM starts no kernel in the time that a boot gives it."""

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
    if not KVM.exists():
        return f"{KVM} does not exist: the image is booted in emulation"
    way_out = (
        "load the module of this processor (kvm_intel, kvm_amd), turn virtualization on in the"
        " firmware or nested virtualization on the host, and run as root or in group kvm"
    )
    try:
        slow = _start_on_kvm(platform_of(architecture))
    except process.CommandError as error:
        what = f"{KVM} is there and does not work: {_reason(error)}"
        if settings.accelerator == "kvm":
            raise VerifyError(
                what, hint=f"{way_out}; or set verify.accelerator = auto, which emulates then"
            ) from error
        raise DoubtError(
            f"{what}; the image is booted in emulation, which takes longer", hint=way_out
        ) from error
    if slow is not None:
        raise DoubtError(f"{KVM} is slower than emulation: {slow}", hint=way_out)
    return "a machine starts on it"


def _start_on_kvm(platform: Platform) -> str | None:
    """Start a machine without disks on KVM, and return how slow it is; None for no reason to doubt.

    Where virtual machines are nested in vain, a machine runs, and too slowly for any kernel.
    Without a BIOS the machine is made and not started. Raises CommandError.
    """
    if not platform.bios:
        machine = f"{platform.machine or 'none'},accel=kvm"
        words = [*_emulator(platform), "-machine", machine, "-cpu", "host", "-S"]
        process.run([*words, "-monitor", "stdio"], timeout=KVM_LIMIT, stdin=b"quit\n")
        return None
    seconds = _bios_seconds(platform, "kvm")
    if seconds < 1:
        return None
    emulated = _bios_seconds(platform, "tcg")
    if seconds < SLOWER * emulated:
        return None
    return f"its BIOS takes {seconds:.1f} s, emulated {emulated:.1f} s"


def _emulator(platform: Platform) -> list[str]:
    machine = ["-nodefaults", "-no-user-config", "-display", "none", "-m", "64"]
    # A killed run takes it along.
    return tied(platform.emulator, *machine, by="KILL")


def _bios_seconds(platform: Platform, accelerator: Accelerator) -> float:
    """Return the seconds until a machine's BIOS has found nothing to boot. Raises CommandError."""
    words = [*_emulator(platform), "-machine", f"pc,accel={accelerator}"]
    words += ["-debugcon", "stdio", "-global", "isa-debugcon.iobase=0x402"]
    began = time.monotonic()
    # By a pipe: a killed run leaves no file behind.
    with process.started(words, env=None, cwd=None, stdin=False, merged_into=None) as child:
        if child.stdout is None or child.stderr is None:
            raise AssertionError
        said = b""
        while BIOS_ENDS not in said:
            left = began + KVM_LIMIT - time.monotonic()
            if left <= 0 or not select.select([child.stdout], [], [], left)[0]:
                raise process.OutOfTimeError(words, KVM_LIMIT)
            told = os.read(child.stdout.fileno(), 4096)
            if not told:
                messages = child.stderr.read().decode(errors="replace")
                raise process.command_failure(words, child.wait(), messages)
            said += told
    return time.monotonic() - began


def _reason(error: process.CommandError) -> str:
    """Return QEMU's first line, without its own name: the ones that follow are less exact."""
    lines = [line for line in error.stderr.splitlines() if line.strip() and "warning: " not in line]
    return lines[0].partition(": ")[2] or lines[0] if lines else error.message


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
