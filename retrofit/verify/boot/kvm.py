"""What KVM is worth on this machine: tried by QEMU, since a device file alone starts nothing."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import structlog

from retrofit.system import process
from retrofit.system.tied import tied
from retrofit.verify.boot.machine import Accelerator, Platform

log = structlog.get_logger(__name__)

DEVICE = Path("/dev/kvm")

LIMIT = 20.0
"""Seconds in which QEMU has long started a machine that does nothing."""
BIOS_ENDS = b"No bootable device"
"""The last words of SeaBIOS at its debug port, of a machine without disks."""
SLOWER = 3.0
"""Times as slow as emulation: so slow a KVM starts no kernel in the time that a boot gives it."""


def accelerators(setting: str, platform: Platform) -> tuple[tuple[Accelerator, ...], list[str]]:
    """Return what a boot tries, in order, and why nothing else: `setting` is verify.accelerator.

    A KVM that QEMU refuses, or that is slower than emulation, is not waited for.
    """
    missing = [] if DEVICE.exists() else [f"{DEVICE} does not exist"]
    if setting == "kvm":
        return ("kvm",), missing
    if setting == "tcg" or missing:
        return ("tcg",), missing
    try:
        fault = start(platform)
    except process.CommandError as error:
        fault = reason(error)
    if fault is None:
        return ("kvm", "tcg"), []
    log.info("accelerator does not work", accelerator="kvm", reason=fault)
    return ("tcg",), [f"KVM was tried: {fault}"]


def start(platform: Platform) -> str | None:
    """Start a machine without disks on KVM, and return how slow it is; None for no reason to doubt.

    Where virtual machines are nested in vain, a machine runs, and too slowly for any kernel.
    Without a BIOS the machine is made and not started. Raises CommandError.
    """
    if not platform.bios:
        machine = f"{platform.machine or 'none'},accel=kvm"
        words = [*_emulator(platform), "-machine", machine, "-cpu", "host", "-S"]
        process.run([*words, "-monitor", "stdio"], timeout=LIMIT, stdin=b"quit\n")
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
            left = began + LIMIT - time.monotonic()
            if left <= 0 or not select.select([child.stdout], [], [], left)[0]:
                raise process.OutOfTimeError(words, LIMIT)
            told = os.read(child.stdout.fileno(), 4096)
            if not told:
                messages = child.stderr.read().decode(errors="replace")
                raise process.command_failure(words, child.wait(), messages)
            said += told
    return time.monotonic() - began


def reason(error: process.CommandError) -> str:
    """Return QEMU's first line, without its own name: the ones that follow are less exact."""
    lines = [line for line in error.stderr.splitlines() if line.strip() and "warning: " not in line]
    return lines[0].partition(": ")[2] or lines[0] if lines else error.message
