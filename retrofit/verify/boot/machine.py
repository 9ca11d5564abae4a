"""The virtual machine: QEMU on an overlay, which is deleted afterwards."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from retrofit.disk import qemu_img
from retrofit.errors import VerifyError
from retrofit.system import process
from retrofit.system.environment import minimal_environment
from retrofit.system.sandbox import sandboxed
from retrofit.system.threads import in_background
from retrofit.system.tied import tied
from retrofit.verify.boot.network import CABLES, Namespace
from retrofit.verify.boot.probe import PORT_NAME
from retrofit.verify.boot.scenario import Chipset

Accelerator = Literal["kvm", "tcg"]
Firmware = Literal["bios", "uefi"]

STOP_GRACE = 20.0
TAIL = 64 * 1024
LARGEST_CONSOLE = 64 * 1024 * 1024
"""Bytes of the log that a guest may fill; a boot writes less than one MiB."""
WATCH_EVERY = 0.5
"""Seconds between two looks at their sizes."""
DEVICES = (Path("/dev/kvm"), Path("/dev/net/tun"))
# What a console shows of a machine that will not come up any more.
LOST = re.compile(
    r"Kernel panic - not syncing[^\r\n]*"
    r"|You are in emergency mode[^\r\n]*"
    r"|Entering emergency mode[^\r\n]*"
    r"|No bootable device[^\r\n]*"
    r"|grub rescue>"
    r"|ALERT!  [^\r\n]{0,200} does not exist[^\r\n]*"
)
TICKS_MISSED = "IO-APIC + timer doesn't work"
"""Linux panics so when it counts no timer interrupts for some ms (check_timer in io_apic.c).

In emulation this happens to sound kernels where the host is too busy to run the emulator in time.
"""
ESCAPES = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1bc|[^\x09\x0a\x20-\x7e\x80-\U0010ffff]"
)


class MachineLostError(Exception):
    """The machine ended, or shows on its console that it will never come up."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """QEMU's parameters for an architecture. `code` and `variables` are UEFI firmware.

    `package` is Debian's, which has the emulator.
    """

    emulator: str
    package: str
    machine: str | None
    """QEMU's machine type; None where the scenario's chipset decides."""
    emulated_cpu: str
    bios: bool
    code: tuple[Path, ...]
    variables: tuple[Path, ...]


PLATFORMS = {
    "x86_64": Platform(
        emulator="qemu-system-x86_64",
        package="qemu-system-x86",
        machine=None,
        # x86-64-v2 and nothing above. With "max" the guest's kernel was seen to panic early in one
        # of some thirty boots ("Fatal exception in interrupt"), and emulated AVX gains nothing.
        # Not Intel's: the guest's kernel would guard it against Meltdown, by other page tables at
        # each system call, and TCG forgets its TLB each time: half as much again of each boot.
        emulated_cpu="Nehalem,vendor=AuthenticAMD",
        bios=True,
        code=(Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_CODE.fd")),
        variables=(Path("/usr/share/OVMF/OVMF_VARS_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS.fd")),
    ),
    "aarch64": Platform(
        emulator="qemu-system-aarch64",
        package="qemu-system-arm",
        machine="virt",
        emulated_cpu="cortex-a72",
        bios=False,
        code=(Path("/usr/share/AAVMF/AAVMF_CODE.fd"),),
        variables=(Path("/usr/share/AAVMF/AAVMF_VARS.fd"),),
    ),
}


def platform_of(architecture: str) -> Platform:
    """Return the platform of a Glance architecture. Raises VerifyError for an unknown one."""
    try:
        return PLATFORMS[architecture]
    except KeyError:
        raise VerifyError(
            f"images for {architecture} cannot be booted here",
            hint=f"known are {', '.join(PLATFORMS)}; verify.level = offline looks inside only",
        ) from None


def resolve_firmware(setting: str, platform: Platform) -> Firmware:
    """Turn the setting into a firmware. Raises VerifyError where the platform has no BIOS."""
    if setting == "bios" and not platform.bios:
        raise VerifyError(
            f"{platform.emulator} has no BIOS", hint="set verify.firmware = uefi or auto"
        )
    if setting == "uefi" or not platform.bios:
        return "uefi"
    return "bios"


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Everything that decides the machine but the network.

    `overlay` lies on `image`; that and `variables` are written to.
    """

    platform: Platform
    accelerator: Accelerator
    firmware: Firmware
    chipset: Chipset
    memory: int
    cpus: int
    image: Path
    overlay: Path
    config_drive: Path
    code: Path | None = None
    variables: Path | None = None

    @property
    def machine(self) -> str:
        """Return QEMU's machine type."""
        return self.platform.machine or self.chipset


def make_overlay(image: Path, disk_format: str, overlay: Path) -> None:
    """Make the disk that the machine writes to; the image below it stays as it is."""
    overlay.unlink(missing_ok=True)
    try:
        qemu_img.create_overlay(image, disk_format, overlay)
    except process.CommandError as error:
        raise VerifyError(
            f"cannot make an overlay of {image.name}: {error}",
            hint="check its format, and that paths.work has room",
        ) from error


def find_firmware(platform: Platform) -> tuple[Path, Path]:
    """Return the UEFI code and its empty variable store. Raises VerifyError."""
    code = next((path for path in platform.code if path.exists()), None)
    variables = next((path for path in platform.variables if path.exists()), None)
    if code is None or variables is None:
        raise VerifyError(
            f"no UEFI firmware at {platform.code[0]}",
            hint="install the ovmf package (qemu-efi-aarch64 for aarch64), or boot from BIOS",
        )
    return code, variables


def copy_firmware(platform: Platform, work_dir: Path) -> tuple[Path, Path]:
    """Return the UEFI code and a copy of its empty variable store. Raises VerifyError."""
    code, variables = find_firmware(platform)
    copy = work_dir / "uefi-variables.fd"
    shutil.copyfile(variables, copy)
    return code, copy


def command_line(hardware: Hardware, console: Path, probe_port: int) -> list[str]:
    """Return QEMU's arguments: nothing but what is named here is in the machine."""
    tcg = hardware.accelerator == "tcg"
    argv = [
        hardware.platform.emulator,
        "-nodefaults", "-no-user-config", "-no-reboot",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny",
        "-machine", hardware.machine,
        "-accel", "tcg,thread=multi" if tcg else "kvm",
        "-cpu", hardware.platform.emulated_cpu if tcg else "host",
        "-smp", str(hardware.cpus),
        "-m", str(hardware.memory),
        "-display", "none",
        "-device", "VGA" if hardware.platform.bios else "virtio-gpu-pci",
        "-chardev", f"file,id=console,path={_escaped(console)},append=on",
        "-serial", "chardev:console",
        "-object", "rng-random,id=rng,filename=/dev/urandom",
        "-device", "virtio-rng-pci,rng=rng",
        # The overlay dies with the machine: nothing in it needs to reach the platters.
        "-drive", f"file={_escaped(hardware.overlay)},if=virtio,format=qcow2,cache=unsafe",
        "-drive", f"file={_escaped(hardware.config_drive)},if=virtio,format=raw,readonly=on",
        "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=probe,host=127.0.0.1,port={probe_port}",
        "-device", f"virtserialport,chardev=probe,name={PORT_NAME}",
    ]  # fmt: skip
    for number, cable in enumerate(CABLES, start=1):
        argv += [
            "-netdev", f"tap,id={cable.device},ifname={cable.device},script=no,downscript=no",
        ]  # fmt: skip
        bus = ""
        if hardware.machine == "q35":
            # As Nova does (hw:num_pcie_ports): a card on the root bus could not be plugged later.
            argv += ["-device", f"pcie-root-port,id=port{number},chassis={number},slot={number}"]
            bus = f",bus=port{number}"
        argv += ["-device", f"virtio-net-pci,netdev={cable.device},mac={cable.mac},romfile={bus}"]
    if hardware.firmware == "uefi":
        argv += [
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={hardware.code}",
            "-drive", f"if=pflash,format=raw,unit=1,file={_escaped(hardware.variables)}",
        ]  # fmt: skip
    return argv


def emulation(hardware: Hardware, console: Path, probe_port: int) -> list[str]:
    """Return the words that start the machine, with its own files and no other's.

    `console` has to be there.
    """
    readable = (hardware.image, hardware.config_drive, hardware.code)
    writable = (hardware.overlay, hardware.variables, console, *DEVICES)
    return sandboxed(
        *command_line(hardware, console, probe_port),
        read=[path for path in readable if path is not None],
        write=[path for path in writable if path is not None],
        connect=True,  # to the probe, the only one in that network
    )


def _escaped(path: Path | None) -> str:
    # QEMU's option lists are separated by commas; a comma in a value is doubled.
    return str(path).replace(",", ",,")


@dataclass(kw_only=True)
class Machine:
    """A machine that was switched on."""

    child: process.Child
    console: Path
    messages: Path
    powered_on: float = field(default_factory=time.monotonic)
    console_start: int = 0

    @property
    def age(self) -> float:
        """Return the seconds since power-on."""
        return time.monotonic() - self.powered_on

    @property
    def runs(self) -> bool:
        """Return True until QEMU ended: for a reboot of the guest it ends too."""
        return self.child.poll() is None

    def console_text(self) -> str:
        """Return the end of what the console showed since power-on, without control characters."""
        try:
            size = self.console.stat().st_size
            with self.console.open("rb") as stream:
                stream.seek(max(self.console_start, size - TAIL))
                return ESCAPES.sub("", stream.read().decode(errors="replace"))
        except FileNotFoundError:
            return ""

    def last_line(self) -> str:
        """Return the last line of the console that is not blank."""
        lines = [line.strip() for line in self.console_text().splitlines()]
        return next((line for line in reversed(lines) if line), "nothing on the console yet")

    def cut_power(self) -> None:
        """Switch the machine off without a shutdown of the guest."""
        process.stop(self.child, grace=STOP_GRACE)

    def require_alive(self) -> None:
        """Raise MachineLostError when QEMU ended or the guest gave up."""
        self.require_bounded_output()  # first: it may be why QEMU ended
        code = self.child.poll()
        if code is not None:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            printed = self.messages.read_text(errors="replace").strip().splitlines()
            reason = (
                printed[-1] if printed else f"the guest switched it off after: {self.last_line()}"
            )
            raise MachineLostError(f"QEMU ended with {how} after {self.age:.0f} s: {reason}")
        lost = LOST.search(self.console_text())
        if lost is not None:
            raise MachineLostError(f"the console shows: {lost.group(0).strip()}")

    def require_bounded_output(self) -> None:
        """Raise MachineLostError when the guest, or QEMU, fills the disk with its output."""
        for name, path in (("its console", self.console), ("QEMU", self.messages)):
            if path.exists() and path.stat().st_size > LARGEST_CONSOLE:
                raise MachineLostError(f"{name} shows more than {LARGEST_CONSOLE >> 20} MiB")


@contextmanager
def switched_on(
    hardware: Hardware, namespace: Namespace, *, probe_port: int, console: Path, messages: Path
) -> Iterator[Machine]:
    """Keep the machine on for the length of the block; its end is a power cut.

    `console` gets the output of the serial console, `messages` that of QEMU itself.
    """
    messages.write_bytes(b"")
    console.touch()
    start = console.stat().st_size
    argv = namespace.command(
        # Should this process be killed, the kernel ends QEMU, and with it the namespace.
        tied(*emulation(hardware, console, probe_port), by="KILL")
    )
    try:
        with process.background(argv, log_file=messages, env=minimal_environment()) as child:
            machine = Machine(child=child, console=console, messages=messages, console_start=start)
            with _output_bounded(machine):
                yield machine
                machine.cut_power()
    except process.CommandError as error:
        raise VerifyError(
            f"QEMU cannot be started: {error}", hint="install the qemu-system packages"
        ) from error


@contextmanager
def _output_bounded(machine: Machine) -> Iterator[None]:
    """End QEMU when it writes too much, whatever we wait for meanwhile, and cut that off."""

    def watch(over: threading.Event) -> None:
        while not over.wait(WATCH_EVERY):
            try:
                machine.require_bounded_output()
            except MachineLostError:
                process.stop(machine.child, grace=0)
                return

    try:
        with in_background(watch, name="console"):
            yield
    finally:
        process.stop(machine.child, grace=STOP_GRACE)
        for path in (machine.console, machine.messages):
            if path.exists() and path.stat().st_size > LARGEST_CONSOLE:
                os.truncate(path, LARGEST_CONSOLE)
