"""Questions to the running machine, and the meaning of its answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from retrofit.verify.agent_files import AGENT_UNITS
from retrofit.verify.boot.probe import Probe
from retrofit.verify.checks import CheckFailedError

RESTARTS = 3
"""Restarts of the agent's unit from which on it is a crash loop."""

SHOW = "systemctl show --property=Id,LoadState,ActiveState,SubState,NRestarts"
RAM_FILESYSTEMS = ("tmpfs", "ramfs")


class NotYetError(Exception):
    """The expected state may still come."""


class Guest:
    """The running machine, as commands inside it show it."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._seen_before: AgentState | None = None

    def kernel(self) -> str:
        """Return the running kernel's release."""
        return self._probe.ask("uname -r").strip()

    def state(self) -> str:
        """Return systemd's word for the whole system: `starting`, `running`, `degraded`..."""
        return self._probe.ask("systemctl is-system-running").strip()

    def jobs(self) -> str:
        """Return the jobs that a boot is waiting for."""
        return " ".join(self._probe.ask("systemctl list-jobs --no-legend --plain").split())

    def failed_units(self) -> list[str]:
        """Return the units that failed."""
        output = self._probe.ask(
            "systemctl list-units --state=failed --plain --no-legend --no-pager"
        )
        return [line.split()[0] for line in output.splitlines() if line.strip()]

    def sync(self) -> None:
        """Write the guest's page cache to its disk."""
        self._probe.ask("sync")

    def reboot(self) -> None:
        """Have the machine reboot a second from now: the answer has to get out before."""
        self._probe.ask("systemd-run --quiet --on-active=1 systemctl reboot")

    def cards(self) -> str:
        """Return the network cards by namespace, and the alternative names of the first."""
        output = self._probe.ask(
            "ip -br link | awk '{print $1}'; echo; ip link | awk '/altname/ {print $2}'; echo;"
            " ip netns exec amphora-haproxy ip -br link | awk '{print $1}'"
        )
        root, names, inside = (
            " ".join(part.split()) for part in (output + "\n\n\n").split("\n\n", 2)
        )
        return f"cards {root} ({names or 'no alternative name'}), in amphora-haproxy {inside}"

    def require_agent_may_answer(self) -> None:
        """Raise CheckFailedError when the agent will never answer: crash loop, or not started."""
        output = self._probe.ask(f"systemctl is-system-running; {SHOW} {' '.join(AGENT_UNITS)}")
        seen = agent_state(output)
        before = self._seen_before
        self._seen_before = before or seen
        if seen is None or before is None:
            return
        verdict = why_agent_stays_silent(before, seen)
        if verdict is not None:
            raise CheckFailedError(f"{verdict}; its last output: {self._last_output()}")

    def _last_output(self) -> str:
        units = " ".join(f"-u {unit}" for unit in AGENT_UNITS)
        output = self._probe.ask(f"journalctl -b -q --no-pager -o cat {units} | tail -n 60")
        errors = re.findall(r"^\w*(?:Error|Exception)\b.*$", output, re.MULTILINE)
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        return errors[-1] if errors else " / ".join(lines[-3:])

    def require_on_ram(self, directory: str) -> str:
        """Raise CheckFailedError unless the directory's filesystem lives in memory alone."""
        output = self._probe.ask(f"findmnt -n -o FSTYPE,SOURCE -T {directory} | tail -n 1").split()
        if len(output) != 2:
            raise CheckFailedError(f"findmnt prints {' '.join(output)}")
        kind, source = output
        if kind in RAM_FILESYSTEMS:
            return kind
        # Octavia's own elements make a RAM disk with an encrypted filesystem on it.
        below = self._probe.ask(f"lsblk -n -s -o NAME -l {source}").split()
        if below and re.fullmatch(r"ram\d+", below[-1]):
            return f"{kind} on {' on '.join(below)}"
        raise CheckFailedError(f"{directory} is {kind} on {source}, which is a disk")

    def require_ssh(self, setting: str, management: str) -> str:
        """Raise CheckFailedError when sshd listens anywhere but on the management address.

        Raises NotYetError when it does not listen at all, and should.
        """
        output = self._probe.ask("ss -H -l -n -t; ip netns exec amphora-haproxy ss -H -l -n -t")
        addresses = listening(output, 22)
        if setting == "remove":
            if addresses:
                raise CheckFailedError(f"sshd was to be removed and listens on {addresses}")
            return "nothing listens on port 22"
        strangers = [address for address in addresses if address != management]
        if strangers:
            raise CheckFailedError(f"port 22 is open on {', '.join(strangers)}")
        if not addresses:
            raise NotYetError("nothing listens on port 22 of the management address")
        return f"on {management}"

    def failure_report(self) -> str:
        """Return status and journal of failed units and of the agent."""
        return self._probe.ask(
            "systemctl is-system-running;"
            " for unit in $(systemctl list-units --state=failed --plain --no-legend --no-pager"
            f" | awk '{{print $1}}') {' '.join(AGENT_UNITS)}; do"
            ' echo; echo "== $unit";'
            " systemctl status --no-pager --lines=0 --full $unit;"
            " journalctl -b -q --no-pager -u $unit | tail -n 200; done;"
            " echo; echo '== /var/log/amphora-agent.log'; tail -n 100 /var/log/amphora-agent.log"
        )


@dataclass(frozen=True, kw_only=True)
class AgentState:
    """The agent's unit at one moment, and systemd's state of the whole system."""

    system: str
    unit: str
    state: str
    restarts: int


def agent_state(output: str) -> AgentState | None:
    """Read the output of `is-system-running` and `show`; None when no agent's unit is loaded."""
    system, _, rest = output.partition("\n")
    for block in rest.strip().split("\n\n"):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        if fields.get("LoadState") == "loaded":
            count = fields.get("NRestarts", "")
            return AgentState(
                system=system.strip(),
                unit=fields.get("Id", ""),
                state=fields.get("ActiveState", ""),
                restarts=int(count) if re.fullmatch(r"[0-9]{1,9}", count) else 0,
            )
    return None


def why_agent_stays_silent(first: AgentState, now: AgentState) -> str | None:
    """Return why the agent will never answer, from two looks at it; None when it may.

    Restarts before the first look do not count: until the config drive was read, they are normal.
    """
    restarts = now.restarts - first.restarts
    if restarts >= RESTARTS:
        return f"{now.unit} is in a crash loop ({restarts} restarts)"
    if now.state == "failed":
        return f"{now.unit} has failed"
    booted = {"running", "degraded"}
    if {first.system, now.system} <= booted and first.state == now.state == "inactive":
        return f"{now.unit} was not started by the boot"
    return None


def listening(output: str, port: int) -> list[str]:
    """Return the local addresses on which `ss -Hlnt` shows a port open, without brackets."""
    found = []
    for line in output.splitlines():
        fields = line.split()
        if len(fields) < 4 or fields[0] != "LISTEN":
            continue
        address, _, number = fields[3].rpartition(":")
        if number == str(port):
            found.append(address.partition("%")[0].strip("[]"))
    return found
