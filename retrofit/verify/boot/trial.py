"""A trial of one amphora: its state, and the frame in which every check runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import structlog

from retrofit.control_plane.agents import (
    ADDITIONAL_VIPS,
    INTERFACE_RULES,
    LVS_OF_BOTH_FAMILIES,
    Feature,
    agent_version,
)
from retrofit.system.deadline import deadline
from retrofit.verify.boot import heartbeat
from retrofit.verify.boot.amphora import Amphora
from retrofit.verify.boot.certificates import authority, issued
from retrofit.verify.boot.configs.model import new_id
from retrofit.verify.boot.guest import Guest
from retrofit.verify.boot.load_balancer import Balancer, load_balancer, vips_of
from retrofit.verify.boot.machine import TICKS_MISSED, MachineLostError
from retrofit.verify.boot.members import Server
from retrofit.verify.boot.network import MANAGEMENT
from retrofit.verify.boot.registry import BootCheck
from retrofit.verify.boot.traffic import HOST
from retrofit.verify.boot.vrrp import Peer
from retrofit.verify.checks import CheckFailedError, NotApplicableError, Record
from retrofit.verify.request import VerifyRequest

HEARTBEAT_TIMEOUT = 60.0
LATE_AT_MOST = 3
REST_TIMEOUT = 1800.0
"""Seconds for all checks once the agent answers: in emulation they take some minutes."""

log = structlog.get_logger(__name__)


class Trial:
    """One amphora's trial; every check is a function of it, which returns what it saw."""

    def __init__(
        self, amphora: Amphora, request: VerifyRequest, *, full: bool, agent: str = ""
    ) -> None:
        """`agent` is the version of the agent that the image's files show; empty when unknown."""
        self.amphora = amphora
        self.agent = amphora.agent
        self.guest = Guest(amphora.probe)
        self.begun = time.monotonic() - amphora.machine.age
        self.settings = request.settings
        self.ssh = request.build.ssh
        self.log_dir = request.log_dir
        self.work_dir = request.work_dir
        self.progress = request.progress
        self.full = full
        version = agent_version(agent)
        self.release = None if version is None else version[0]
        """Of Octavia, that the agent is from: 16 of `16.0.0`; None for an unknown one."""
        self.haproxy: tuple[int, ...] = ()
        self.facts: dict[str, str] = {}
        self.certificate_ca = authority("load balancer CA")
        self.certificate = issued(self.certificate_ca, HOST, dns_name=HOST)
        self.balancer: Balancer = load_balancer(
            amphora.scenario,
            amphora.id,
            balancer_id=new_id(),
            full=full,
            vips=vips_of(
                amphora.scenario,
                full=full,
                additional_vips=self.has(ADDITIONAL_VIPS),
                both_families=version is None or not LVS_OF_BOTH_FAMILIES.concerns(version),
            ),
        )
        self.members: dict[str, Server] = {}
        self.client_ca = authority("clients' CA")
        self.member_ca = authority("members' CA")
        self.plain_only = False
        """True once the load balancer was reduced to its plain listener."""
        self.evident = False
        """True once the evidence of a boot was written."""
        self.peer: Peer | None = None
        self.logs: dict[int, list[str]] = {}
        """What came at the ports of the controller's log receivers."""
        self.control_plane = request.control_plane
        self.language: dict[str, str | None] = {}
        """Answers to configurations of the control plane: a refusal, or None for one taken."""
        self._late = 0
        """Times that the emulator was too late for the guest's timer."""
        self.session = ExitStack()
        """Members and log receivers, which serve until the trial ends."""

    @property
    def theirs(self) -> str:
        """Return the machine's address on the management network."""
        return MANAGEMENT.ends(self.amphora.scenario.management)[1]

    def restart(self) -> None:
        """Switch the machine on again, with the disk as it is."""
        self.amphora.restart()
        self.guest = Guest(self.amphora.probe)

    def require_alive(self) -> None:
        """Raise MachineLostError when the machine ended or its guest gave up.

        A kernel that the host was too busy to emulate in time is switched on again, some times: no
        image can help that, and one whose timer does not work panics each time.
        """
        try:
            self.amphora.machine.require_alive()
        except MachineLostError as lost:
            emulated = self.amphora.hardware.accelerator == "tcg"
            if not emulated or TICKS_MISSED not in str(lost) or self._late >= LATE_AT_MOST:
                raise
            self._late += 1
            log.info("machine switched on again", reason=str(lost), number=self._late)
            self.restart()

    def has(self, feature: Feature) -> bool:
        """Return True unless the agent's release is known to be older than a feature."""
        return self.release is None or self.release >= feature.since

    @property
    def has_rules(self) -> bool:
        """Return True if the VIP's interface is one of SR-IOV, which has rules."""
        return self.amphora.scenario.name == "pair" and self.has(INTERFACE_RULES)

    def run(self, record: Record, checks: Collection[BootCheck]) -> None:
        """Go through checks while the machine runs."""
        names = {check.name for check in checks}
        with self.session:
            for number, check in enumerate(checks):
                self.progress(f"checking {check.name}", number / len(checks))
                needs = tuple(need for need in check.needs if need in names)
                record.attempt(
                    check.name, self._unless_lost(partial(self._ask, check)), needs=needs
                )

    def _ask(self, check: BootCheck) -> str:
        for feature in check.features:
            if not self.has(feature):
                raise NotApplicableError(
                    f"{feature.name} came with octavia {feature.since}, this agent's release is"
                    f" {self.release}"
                )
        return check.run(self)

    def _unless_lost(self, check: Callable[[], str]) -> Callable[[], str]:
        """Return a check whose failure names the machine's end, where that is the reason."""

        def attempt() -> str:
            try:
                self.amphora.machine.require_bounded_output()
                return self._in_time(check)
            except (OSError, CheckFailedError):
                try:
                    self.amphora.machine.require_alive()
                except MachineLostError as lost:
                    raise CheckFailedError(str(lost)) from lost
                raise
            except MachineLostError as lost:
                raise CheckFailedError(str(lost)) from lost

        return attempt

    def _in_time(self, check: Callable[[], str]) -> str:
        """Make a check with what is left of the whole trial's time, however its answers drip."""
        limit = self.settings.timeout + REST_TIMEOUT
        left = limit - (time.monotonic() - self.begun)
        if left <= 0:
            raise CheckFailedError(f"the checks before this one took more than {limit:g} s")
        with deadline(left, missing="no end of this check"):
            return check()

    def heartbeat(
        self,
        *,
        listeners: Collection[str] = (),
        lacks: Callable[[heartbeat.Message], str | None] = lambda _message: None,
        timeout: float = HEARTBEAT_TIMEOUT,
    ) -> heartbeat.Message:
        """Return the next heartbeat that lacks nothing. Raises CheckFailedError."""
        heartbeat.forget(self.amphora.heartbeats)
        return heartbeat.await_heartbeat(
            self.amphora.heartbeats,
            key=self.amphora.heartbeat_key,
            amphora_id=self.amphora.id,
            timeout=timeout,
            listeners=listeners,
            lacks=lacks,
        )

    def collect_evidence(self, name: str = "journal-of-failed") -> None:
        """Write the guest's logs of its failures, and have it sync its disk.

        After a power cut, everything that the guest meant to keep is then on the disk.
        """
        text = "the machine runs no commands for us\n"
        if self.amphora.probe.poll():
            try:
                text = self.guest.failure_report()
                self.guest.sync()
            except CheckFailedError as error:
                text = f"{error}\n"
        self.evident = True
        path: Path = self.log_dir / f"{name}{self.amphora.scenario.suffix}.log"
        path.write_text(text)
