"""An amphora made of an image: machine, network, identity, and the ways to talk to it."""

from __future__ import annotations

import secrets
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from retrofit import process
from retrofit.config import VerifySettings
from retrofit.errors import VerifyError
from retrofit.progress import Progress
from retrofit.verify.boot import config_drive, dhcp, machine
from retrofit.verify.boot.agent import Agent
from retrofit.verify.boot.certificates import Credentials
from retrofit.verify.boot.machine import Accelerator, Hardware, Machine, MachineLostError
from retrofit.verify.boot.network import MANAGEMENT, Namespace, isolated
from retrofit.verify.boot.probe import USER_DATA, Probe

log = structlog.get_logger(__name__)

KVM = Path("/dev/kvm")
KVM_DEADLINE = 60.0
"""Seconds in which a machine on a working KVM has long started its kernel."""
KERNEL_STARTED = ("Linux version ", "systemd[1]:", "Welcome to ")


@dataclass(frozen=True, kw_only=True)
class Amphora:
    """A machine that runs, as its controller knows it."""

    id: str
    heartbeat_key: str
    credentials: Credentials
    namespace: Namespace
    machine: Machine
    hardware: Hardware
    agent: Agent
    probe: Probe
    heartbeats: socket.socket
    note: str
    """Why this accelerator, for people."""


@contextmanager
def running(
    image: Path,
    *,
    disk_format: str,
    settings: VerifySettings,
    architecture: str,
    work_dir: Path,
    log_dir: Path,
    progress: Progress,
) -> Iterator[Amphora]:
    """Boot the image for the length of the block; everything it took is gone afterwards.

    Raises VerifyError when this machine cannot boot anything, and MachineLostError when what was
    switched on went off before its kernel started, on the last accelerator there is.
    """
    amphora_id, instance_id = str(uuid.uuid4()), str(uuid.uuid4())
    heartbeat_key = secrets.token_hex(16)
    credentials = Credentials.make(amphora_id)
    work_dir.mkdir(parents=True, exist_ok=True)
    try:
        drive = config_drive.make(
            config_drive.Assignment(
                amphora_id=amphora_id,
                instance_id=instance_id,
                heartbeat_key=heartbeat_key,
                server_pem=credentials.server.pem,
                client_ca_pem=credentials.client_ca.certificate_pem,
                user_data=USER_DATA,
            ),
            work_dir,
        )
    except process.CommandError as error:
        raise VerifyError(
            f"the config drive cannot be made: {error}", hint="install xorriso"
        ) from error
    with ExitStack() as stack:
        namespace = stack.enter_context(isolated())
        leased = stack.enter_context(dhcp.served(namespace, MANAGEMENT))
        heartbeats = stack.enter_context(namespace.open_socket(socket.SOCK_DGRAM))
        heartbeats.bind((MANAGEMENT.ours, config_drive.HEARTBEAT_PORT))
        agent = Agent(namespace, credentials, amphora_id, work_dir)
        hardware, probe, started, note = _switch_on(
            image,
            disk_format,
            settings,
            architecture,
            drive,
            namespace,
            leased,
            stack,
            work_dir,
            log_dir,
            progress,
        )
        yield Amphora(
            id=amphora_id,
            heartbeat_key=heartbeat_key,
            credentials=credentials,
            namespace=namespace,
            machine=started,
            hardware=hardware,
            agent=agent,
            probe=probe,
            heartbeats=heartbeats,
            note=note,
        )


def accelerators(setting: str) -> tuple[Accelerator, ...]:
    """Return what to try, in order."""
    if setting == "kvm":
        return ("kvm",)
    if setting == "tcg":
        return ("tcg",)
    return ("kvm", "tcg") if KVM.exists() else ("tcg",)


def _switch_on(
    image: Path,
    disk_format: str,
    settings: VerifySettings,
    architecture: str,
    drive: Path,
    namespace: Namespace,
    leased: threading.Event,
    stack: ExitStack,
    work_dir: Path,
    log_dir: Path,
    progress: Progress,
) -> tuple[Hardware, Probe, Machine, str]:
    platform = machine.platform_of(architecture)
    firmware = machine.resolve_firmware(settings.firmware, platform)
    candidates = accelerators(settings.accelerator)
    note = "" if "kvm" in candidates else f"{KVM} does not exist; "
    for accelerator in candidates:
        code, variables = (
            machine.copy_firmware(platform, work_dir) if firmware == "uefi" else (None, None)
        )
        overlay = work_dir / "overlay.qcow2"
        machine.make_overlay(image, disk_format, overlay)
        hardware = Hardware(
            platform=platform,
            accelerator=accelerator,
            firmware=firmware,
            memory=settings.memory,
            cpus=settings.cpus,
            overlay=overlay,
            config_drive=drive,
            code=code,
            variables=variables,
        )
        attempt = ExitStack()
        with attempt:
            probe = Probe(namespace)
            attempt.callback(probe.close)
            started = attempt.enter_context(
                machine.switched_on(
                    hardware,
                    namespace,
                    probe_port=probe.port,
                    console=log_dir / "console.log",
                    messages=log_dir / "qemu.log",
                )
            )
            log.info("machine switched on", accelerator=accelerator, firmware=firmware)
            if accelerator == "tcg":
                stack.push(attempt.pop_all())
                return hardware, probe, started, f"{note}emulation (TCG)"
            try:
                _require_life(started, leased, progress)
            except MachineLostError as lost:
                if accelerator == candidates[-1]:
                    raise VerifyError(
                        f"KVM was asked for and does not work: {lost}",
                        hint="set verify.accelerator = auto",
                    ) from lost
                note = f"KVM was tried: {lost}; "
                log.info("accelerator passed over", accelerator=accelerator, reason=str(lost))
            else:
                stack.push(attempt.pop_all())
                return hardware, probe, started, "KVM"
    raise AssertionError("the last accelerator is always taken or refused")


def _require_life(started: Machine, leased: threading.Event, progress: Progress) -> None:
    """Raise MachineLostError unless the guest's kernel starts in good time."""
    while started.age < KVM_DEADLINE:
        progress("trying KVM", None)
        started.require_alive()
        if leased.is_set() or any(word in started.console_text() for word in KERNEL_STARTED):
            return
        time.sleep(0.2)
    raise MachineLostError(f"no kernel started within {KVM_DEADLINE:g} s")
