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
from retrofit.system.progress import Progress
from retrofit.verify.boot import config_drive, dhcp, kvm, machine, router
from retrofit.verify.boot.agent import Agent
from retrofit.verify.boot.certificates import Credentials
from retrofit.verify.boot.machine import Accelerator, Hardware, Machine, MachineLostError
from retrofit.verify.boot.network import MANAGEMENT, Namespace, isolated
from retrofit.verify.boot.probe import USER_DATA, Probe
from retrofit.verify.boot.scenario import SINGLE, Scenario
from retrofit.verify.request import VerifyRequest

log = structlog.get_logger(__name__)

KVM_DEADLINE = 60.0
"""Seconds in which a machine on a working KVM has long started its kernel."""
KERNEL_STARTED = ("Linux version ", "systemd[1]:", "Welcome to ")


@dataclass(kw_only=True)
class Amphora:
    """A machine that runs, as its controller knows it. A restart changes `machine` and `probe`."""

    id: str
    scenario: Scenario
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
    session: ExitStack
    """What ends with the power."""
    console: Path
    messages: Path

    def restart(self) -> None:
        """Switch the machine on again, with the disk as it is; off first, where it still runs."""
        self.session.close()
        probe = Probe(self.namespace)
        self.session.callback(probe.close)
        self.machine = self.session.enter_context(
            machine.switched_on(
                self.hardware,
                self.namespace,
                probe_port=probe.port,
                console=self.console,
                messages=self.messages,
            )
        )
        self.probe = probe


@contextmanager
def running(request: VerifyRequest, scenario: Scenario = SINGLE) -> Iterator[Amphora]:
    """Boot the image for the length of the block; everything it took is cleaned up afterwards.

    Raises VerifyError when this machine cannot boot what it is asked to.
    """
    work_dir = request.work_dir / f"boot{scenario.suffix}"
    work_dir.mkdir(parents=True)
    amphora_id = str(uuid.uuid4())
    heartbeat_key = secrets.token_hex(16)
    credentials = Credentials.make(amphora_id)
    assignment = config_drive.Assignment(
        amphora_id=amphora_id,
        instance_id=str(uuid.uuid4()),
        heartbeat_key=heartbeat_key,
        server_pem=credentials.server.pem,
        client_ca_pem=credentials.trusted + _control_planes_ca(request),
        user_data=USER_DATA,
        scenario=scenario,
    )
    ours, theirs = MANAGEMENT.ends(scenario.management)
    with ExitStack() as stack:
        namespace = stack.enter_context(isolated())
        if scenario.management == "ipv4":
            started = stack.enter_context(dhcp.served(namespace, MANAGEMENT))
        else:
            started = stack.enter_context(router.advertised(namespace, MANAGEMENT))
        heartbeats = stack.enter_context(
            namespace.open_socket(socket.SOCK_DGRAM, ipv6=scenario.management == "ipv6")
        )
        heartbeats.bind((ours, config_drive.HEARTBEAT_PORT))
        # Entered before the power comes on: whatever happens then, it ends.
        session = stack.enter_context(ExitStack())
        powered = _power_on(
            request,
            scenario,
            config_drive.make(assignment, work_dir),
            namespace,
            started,
            work_dir,
            session,
        )
        yield Amphora(
            id=amphora_id,
            scenario=scenario,
            heartbeat_key=heartbeat_key,
            credentials=credentials,
            namespace=namespace,
            machine=powered.machine,
            hardware=powered.hardware,
            agent=Agent(namespace, credentials, amphora_id, work_dir, address=theirs),
            probe=powered.probe,
            heartbeats=heartbeats,
            note=powered.note,
            session=session,
            console=powered.machine.console,
            messages=powered.machine.messages,
        )


def _control_planes_ca(request: VerifyRequest) -> bytes:
    """Return the CA of the control plane's certificate, which the agent trusts besides ours."""
    expected = request.control_plane
    known = None if expected is None else expected.certificates
    return b"" if known is None or known.client is None else known.client.ca


@dataclass(frozen=True, kw_only=True)
class _Powered:
    """A machine on an accelerator that works, and why on that."""

    hardware: Hardware
    machine: Machine
    probe: Probe
    note: str


def _power_on(
    request: VerifyRequest,
    scenario: Scenario,
    drive: Path,
    namespace: Namespace,
    started: threading.Event,
    work_dir: Path,
    session: ExitStack,
) -> _Powered:
    """Switch the machine on, until `session` ends, on the first accelerator that starts its kernel.

    Emulation is not tried out: it works everywhere, and a kernel that does not start is then the
    image's fault.
    """
    order, notes = kvm.accelerators(
        request.settings.accelerator, machine.platform_of(request.architecture)
    )
    for accelerator in order:
        hardware = _hardware(request, scenario, accelerator, drive, work_dir)
        with ExitStack() as attempt:
            probe = Probe(namespace)
            attempt.callback(probe.close)
            powered = attempt.enter_context(
                machine.switched_on(
                    hardware,
                    namespace,
                    probe_port=probe.port,
                    console=request.log_dir / f"console{scenario.suffix}.log",
                    messages=request.log_dir / f"qemu{scenario.suffix}.log",
                )
            )
            log.info(
                "machine switched on",
                scenario=scenario.name,
                machine=hardware.machine,
                accelerator=accelerator,
                firmware=hardware.firmware,
            )
            if accelerator == "kvm":
                try:
                    _require_kernel_start(powered, started, request.progress)
                except MachineLostError as lost:
                    notes.append(f"KVM was tried: {lost}")
                    log.info("accelerator does not work", accelerator="kvm", reason=str(lost))
                    continue
            notes.append({"kvm": "on KVM", "tcg": "in emulation (TCG)"}[accelerator])
            session.push(attempt.pop_all())
            return _Powered(hardware=hardware, machine=powered, probe=probe, note="; ".join(notes))
    raise VerifyError(
        f"no machine can be started: {'; '.join(notes)}", hint="set verify.accelerator = auto"
    )


def _hardware(
    request: VerifyRequest,
    scenario: Scenario,
    accelerator: Accelerator,
    drive: Path,
    work_dir: Path,
) -> Hardware:
    """Choose the machine and make new files for it to write to. Raises VerifyError."""
    settings = request.settings
    platform = machine.platform_of(request.architecture)
    firmware = machine.resolve_firmware(settings.firmware, platform)
    code, variables = None, None
    if firmware == "uefi":
        code, variables = machine.copy_firmware(platform, work_dir)
    overlay = work_dir / "overlay.qcow2"
    machine.make_overlay(request.image, request.disk_format, overlay)
    return Hardware(
        platform=platform,
        accelerator=accelerator,
        firmware=firmware,
        chipset=scenario.chipset,
        memory=settings.memory,
        cpus=settings.cpus,
        image=request.image,
        overlay=overlay,
        config_drive=drive,
        code=code,
        variables=variables,
    )


def _require_kernel_start(powered: Machine, started: threading.Event, progress: Progress) -> None:
    """Raise MachineLostError unless the guest's kernel starts in good time."""
    while powered.age < KVM_DEADLINE:
        progress("trying KVM", None)
        powered.require_alive()
        if started.is_set() or any(word in powered.console_text() for word in KERNEL_STARTED):
            return
        time.sleep(0.2)
    raise MachineLostError(f"no kernel started within {KVM_DEADLINE:g} s")
