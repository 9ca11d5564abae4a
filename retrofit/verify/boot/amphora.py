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

from retrofit.errors import VerifyError
from retrofit.progress import Progress
from retrofit.verify.boot import config_drive, dhcp, machine
from retrofit.verify.boot.agent import Agent
from retrofit.verify.boot.certificates import Credentials
from retrofit.verify.boot.machine import Accelerator, Hardware, Machine, MachineLostError
from retrofit.verify.boot.network import MANAGEMENT, Namespace, isolated
from retrofit.verify.boot.probe import USER_DATA, Probe
from retrofit.verify.examination import Examination

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
def running(examination: Examination) -> Iterator[Amphora]:
    """Boot the image for the length of the block; everything it took is gone afterwards.

    Raises VerifyError when this machine cannot boot what it is asked to.
    """
    work_dir = examination.work_dir / "boot"
    work_dir.mkdir(parents=True)
    amphora_id = str(uuid.uuid4())
    heartbeat_key = secrets.token_hex(16)
    credentials = Credentials.make(amphora_id)
    assignment = config_drive.Assignment(
        amphora_id=amphora_id,
        instance_id=str(uuid.uuid4()),
        heartbeat_key=heartbeat_key,
        server_pem=credentials.server.pem,
        client_ca_pem=credentials.client_ca.certificate_pem,
        user_data=USER_DATA,
    )
    with ExitStack() as stack:
        namespace = stack.enter_context(isolated())
        leased = stack.enter_context(dhcp.served(namespace, MANAGEMENT))
        heartbeats = stack.enter_context(namespace.open_socket(socket.SOCK_DGRAM))
        heartbeats.bind((MANAGEMENT.ours, config_drive.HEARTBEAT_PORT))
        powered = stack.enter_context(
            _switched_on(
                examination, config_drive.make(assignment, work_dir), namespace, leased, work_dir
            )
        )
        yield Amphora(
            id=amphora_id,
            heartbeat_key=heartbeat_key,
            credentials=credentials,
            namespace=namespace,
            machine=powered.machine,
            hardware=powered.hardware,
            agent=Agent(namespace, credentials, amphora_id, work_dir),
            probe=powered.probe,
            heartbeats=heartbeats,
            note=powered.note,
        )


@dataclass(frozen=True, kw_only=True)
class _Powered:
    """A machine on an accelerator that works, and why on that."""

    hardware: Hardware
    machine: Machine
    probe: Probe
    note: str


def accelerators(setting: str) -> tuple[Accelerator, ...]:
    """Return what to try, in order."""
    if setting == "kvm":
        return ("kvm",)
    if setting == "tcg":
        return ("tcg",)
    return ("kvm", "tcg") if KVM.exists() else ("tcg",)


@contextmanager
def _switched_on(
    examination: Examination,
    drive: Path,
    namespace: Namespace,
    leased: threading.Event,
    work_dir: Path,
) -> Iterator[_Powered]:
    """Keep the machine on, on the first accelerator on which its kernel starts.

    Emulation is taken at its word: it works everywhere, and a kernel that does not start is then
    the image's fault.
    """
    notes = [] if KVM.exists() else [f"{KVM} does not exist"]
    candidates = accelerators(examination.settings.accelerator)
    for accelerator in candidates:
        hardware = _hardware(examination, accelerator, drive, work_dir)
        with ExitStack() as attempt:
            probe = Probe(namespace)
            attempt.callback(probe.close)
            started = attempt.enter_context(
                machine.switched_on(
                    hardware,
                    namespace,
                    probe_port=probe.port,
                    console=examination.log_dir / "console.log",
                    messages=examination.log_dir / "qemu.log",
                )
            )
            log.info("machine switched on", accelerator=accelerator, firmware=hardware.firmware)
            if accelerator == "kvm":
                try:
                    _require_life(started, leased, examination.progress)
                except MachineLostError as lost:
                    notes.append(f"KVM was tried: {lost}")
                    log.info("accelerator passed over", accelerator="kvm", reason=str(lost))
                    continue
            notes.append({"kvm": "on KVM", "tcg": "in emulation (TCG)"}[accelerator])
            yield _Powered(hardware=hardware, machine=started, probe=probe, note="; ".join(notes))
            return
    raise VerifyError(
        f"no machine can be started: {'; '.join(notes)}", hint="set verify.accelerator = auto"
    )


def _hardware(
    examination: Examination, accelerator: Accelerator, drive: Path, work_dir: Path
) -> Hardware:
    """Choose the machine and make the files it writes to, afresh. Raises VerifyError."""
    settings = examination.settings
    platform = machine.platform_of(examination.architecture)
    firmware = machine.resolve_firmware(settings.firmware, platform)
    code, variables = None, None
    if firmware == "uefi":
        code, variables = machine.copy_firmware(platform, work_dir)
    overlay = work_dir / "overlay.qcow2"
    machine.make_overlay(examination.image, examination.disk_format, overlay)
    return Hardware(
        platform=platform,
        accelerator=accelerator,
        firmware=firmware,
        memory=settings.memory,
        cpus=settings.cpus,
        image=examination.image,
        overlay=overlay,
        config_drive=drive,
        code=code,
        variables=variables,
    )


def _require_life(started: Machine, leased: threading.Event, progress: Progress) -> None:
    """Raise MachineLostError unless the guest's kernel starts in good time."""
    while started.age < KVM_DEADLINE:
        progress("trying KVM", None)
        started.require_alive()
        if leased.is_set() or any(word in started.console_text() for word in KERNEL_STARTED):
            return
        time.sleep(0.2)
    raise MachineLostError(f"no kernel started within {KVM_DEADLINE:g} s")
