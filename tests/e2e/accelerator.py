"""The machines of tests: how they are accelerated, and one that needs no image to run.

Emulation, whatever the machine offers: a boot sector may run on a /dev/kvm on which no kernel does,
and what a test shows is the same everywhere. `test_main_job` has the default, which tries KVM.
"""

from __future__ import annotations

from pathlib import Path

from retrofit.verify.boot import machine
from retrofit.verify.boot.machine import Accelerator

ACCELERATOR: Accelerator = "tcg"
# mov dx, COM1; again: mov al, 'x'; out dx, al; jmp again
CHATTY = bytes.fromhex("baf803 b078 ee ebfb").ljust(510, b"\0") + b"\x55\xaa"
"""A boot sector that writes one letter to the console, again and again."""


def chatty(directory: Path, accelerator: Accelerator) -> machine.Hardware:
    """Return a machine with that boot sector, with its files in `directory`."""
    image, overlay, drive = (
        directory / name for name in ("image.raw", "overlay.qcow2", "config.iso")
    )
    image.write_bytes(CHATTY.ljust(1 << 20, b"\0"))
    machine.make_overlay(image, "raw", overlay)
    drive.write_bytes(bytes(1 << 20))
    return machine.Hardware(
        platform=machine.PLATFORMS["x86_64"],
        accelerator=accelerator,
        firmware="bios",
        chipset="q35",
        memory=128,
        cpus=1,
        image=image,
        overlay=overlay,
        config_drive=drive,
    )
