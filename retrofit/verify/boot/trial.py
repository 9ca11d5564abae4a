"""The trial: everything that Octavia asks of an amphora, asked of this one, in Octavia's order."""

from __future__ import annotations

import json
import re
import secrets
import ssl
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from retrofit.deadline import deadline
from retrofit.verify.boot import load_balancer as lb
from retrofit.verify.boot.amphora import Amphora
from retrofit.verify.boot.certificates import authority, issued
from retrofit.verify.boot.guest import Guest, NotYetError
from retrofit.verify.boot.heartbeat import await_heartbeat
from retrofit.verify.boot.machine import MachineLostError
from retrofit.verify.boot.network import VIP, VIP_ADDRESS
from retrofit.verify.examination import Examination
from retrofit.verify.record import CheckFailedError, Record

ANSWERS = "agent-answers"
PLUGGED = "vip-plugged"
CERTIFICATE = "certificate-uploaded"
CONFIGURED = "load-balancer-configured"
STARTED = "load-balancer-started"
COMPLETE = "boot-complete"

API_VERSION = "1.0"
HEARTBEAT_TIMEOUT = 60.0
ATTEMPT_TIMEOUT = 30.0
BOOT_COMPLETE_TIMEOUT = 240.0
TRAFFIC_TIMEOUT = 60.0
SSH_TIMEOUT = 60.0
HOPELESS_EVERY = 15.0
REST_TIMEOUT = 1800.0
"""Seconds for all checks once the agent answers: in emulation they take some minutes."""


class Trial:
    """One amphora's trial; every method that is a check returns what it saw."""

    def __init__(self, amphora: Amphora, examination: Examination) -> None:
        self.amphora = amphora
        self.agent = amphora.agent
        self.guest = Guest(amphora.probe)
        self.settings = examination.settings
        self.ssh = examination.build.ssh
        self.progress = examination.progress
        self.facts: dict[str, str] = {}
        self.certificate_ca = authority("load balancer CA")
        self.certificate = issued(
            self.certificate_ca, "www.example.org", dns_name="www.example.org"
        )
        self.balancer = lb.LoadBalancer(
            id=str(uuid.uuid4()),
            amphora_id=amphora.id,
            certificate_name=f"{secrets.token_hex(20)}.pem",
        )

    def run(self, record: Record) -> None:
        """Go through all checks while the machine runs."""
        steps = (
            (ANSWERS, self.answers, ()),
            ("agent-refuses-no-certificate", self.refuses_no_certificate, (ANSWERS,)),
            ("agent-refuses-foreign-certificate", self.refuses_foreign_certificate, (ANSWERS,)),
            ("agent-tls-version", self.tls_version, (ANSWERS,)),
            ("agent-api-version", self.api_version, (ANSWERS,)),
            ("agent-info", self.info, (ANSWERS,)),
            ("heartbeat", self.heartbeat, (ANSWERS,)),
            (PLUGGED, self.plugs_vip, (ANSWERS,)),
            (CERTIFICATE, self.takes_certificate, (ANSWERS,)),
            ("certificates-on-ram", self.certificates_on_ram, (CERTIFICATE,)),
            (CONFIGURED, self.takes_configuration, (PLUGGED, CERTIFICATE)),
            (STARTED, self.starts_balancer, (CONFIGURED,)),
            ("listeners-active", self.listeners_active, (STARTED,)),
            ("http-through-haproxy", self.serves_http, (STARTED,)),
            ("https-through-haproxy", self.serves_https, (STARTED,)),
            ("prometheus-metrics", self.serves_metrics, (STARTED,)),
            ("heartbeat-reports-listeners", self.heartbeat_reports_listeners, (STARTED,)),
            ("agent-details", self.details, (STARTED,)),
            (COMPLETE, self.boot_completes, (ANSWERS,)),
            ("no-failed-unit", self.no_failed_unit, (COMPLETE,)),
            ("ssh-on-management-only", self.ssh_on_management_only, (COMPLETE,)),
        )
        for number, (name, check, needs) in enumerate(steps):
            if name != ANSWERS:
                self.progress(f"checking {name}", number / len(steps))
            record.attempt(name, self._unless_lost(check), needs=needs)

    def _unless_lost(self, check: Callable[[], str]) -> Callable[[], str]:
        """Let a check's failure say that the machine is gone, when that is why it failed."""

        def attempt() -> str:
            try:
                self.amphora.machine.require_few_words()
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
        left = limit - self.amphora.machine.age
        if left <= 0:
            raise CheckFailedError(f"the trial took longer than {limit:g} s before it came to this")
        with deadline(left, missing="no end of this check"):
            return check()

    def answers(self) -> str:
        machine, last, asked = self.amphora.machine, "nothing", 0.0
        while machine.age < self.settings.timeout:
            # Once somebody listens there, what it says is worth more than the console.
            seen = last if "SSL" in last else machine.last_line()
            self.progress(
                f"waiting for the agent: {seen[:100]}", machine.age / self.settings.timeout
            )
            try:
                machine.require_alive()
            except MachineLostError as lost:
                raise CheckFailedError(str(lost)) from lost
            try:
                answer = self.agent.ask("GET", f"/{API_VERSION}/info", timeout=ATTEMPT_TIMEOUT)
                if answer.status == 200:
                    return f"{machine.age:.0f} s after power-on, {self.amphora.note}"
                last = f"{answer.status} {answer.excerpt}"
            except OSError as error:
                last = f"{type(error).__name__}: {error}"
            if time.monotonic() - asked > HOPELESS_EVERY and self.amphora.probe.poll():
                asked = time.monotonic()
                self.guest.require_hope()
            time.sleep(1)
        raise CheckFailedError(
            f"no answer within {self.settings.timeout} s of power-on; last: {last};"
            f" console: {machine.last_line()}"
        )

    def refuses_no_certificate(self) -> str:
        return self._refused(stranger=False, who="without a certificate")

    def refuses_foreign_certificate(self) -> str:
        return self._refused(stranger=True, who="with another CA's certificate")

    def _refused(self, *, stranger: bool, who: str) -> str:
        how = self.agent.refusal(stranger=stranger)
        if how is None:
            raise CheckFailedError(f"a client {who} was served")
        return how

    def tls_version(self) -> str:
        version = self.agent.expect("GET", "/").tls_version
        if version not in {"TLSv1.2", "TLSv1.3"}:
            raise CheckFailedError(f"{version} was agreed on")
        if self.agent.accepts_old_tls():
            raise CheckFailedError("TLS 1.1 or older is accepted")
        return version

    def api_version(self) -> str:
        answer = self.agent.expect("GET", "/").fields()
        if answer != {"api_version": API_VERSION}:
            raise CheckFailedError(f"GET / says {answer}")
        return API_VERSION

    def info(self) -> str:
        answer = self.agent.expect("GET", f"/{API_VERSION}/info").fields()
        expected = f"amphora-{self.amphora.id}"
        if answer.get("hostname") != expected:
            raise CheckFailedError(f"hostname is {answer.get('hostname')}, expected {expected}")
        if answer.get("api_version") != API_VERSION or not answer.get("haproxy_version"):
            raise CheckFailedError(f"GET /1.0/info says {answer}")
        self.facts["haproxy_version"] = str(answer["haproxy_version"])
        return f"HAProxy {answer['haproxy_version']}"

    def details(self) -> str:
        answer = self.agent.expect("GET", f"/{API_VERSION}/details").fields()
        missing = [key for key in ("networks", "memory", "disk", "load") if key not in answer]
        if missing or not answer.get("active"):
            raise CheckFailedError(f"GET /1.0/details says {json.dumps(answer)[:400]}")
        return f"active, networks {', '.join(answer['networks'])}"

    def heartbeat(self) -> str:
        message = await_heartbeat(
            self.amphora.heartbeats,
            key=self.amphora.heartbeat_key,
            amphora_id=self.amphora.id,
            timeout=HEARTBEAT_TIMEOUT,
        )
        return f"authentic, version {message['ver']}, sequence {message.get('seq')}"

    def heartbeat_reports_listeners(self) -> str:
        await_heartbeat(
            self.amphora.heartbeats,
            key=self.amphora.heartbeat_key,
            amphora_id=self.amphora.id,
            timeout=HEARTBEAT_TIMEOUT,
            listeners=self.balancer.listeners.values(),
        )
        return f"{', '.join(self.balancer.listeners)} are OPEN"

    def plugs_vip(self) -> str:
        body = {
            "subnet_cidr": VIP.cidr,
            "gateway": VIP.ours,
            "mac_address": VIP.mac,
            "vrrp_ip": VIP.theirs,
            "mtu": 1500,
            "host_routes": [],
            "additional_vips": [],
            "is_sriov": False,
        }
        answer = self.agent.expect(
            "POST",
            f"/{API_VERSION}/plug/vip/{VIP_ADDRESS}",
            json.dumps(body).encode(),
            status=(202,),
        )
        return str(answer.fields().get("details"))

    def takes_certificate(self) -> str:
        path = (
            f"/{API_VERSION}/loadbalancer/{self.balancer.id}/certificates/"
            f"{self.balancer.certificate_name}"
        )
        self.agent.expect("PUT", path, self.certificate.pem)
        return str(self.agent.expect("GET", path).fields().get("md5sum"))

    def certificates_on_ram(self) -> str:
        return self.guest.require_on_ram(lb.CERTIFICATE_DIRECTORY)

    def takes_configuration(self) -> str:
        self.agent.expect(
            "PUT",
            f"/{API_VERSION}/loadbalancer/{self.amphora.id}/{self.balancer.id}/haproxy",
            self.balancer.haproxy_config().encode(),
            status=(202,),
        )
        return "haproxy accepts it"

    def starts_balancer(self) -> str:
        path = f"/{API_VERSION}/loadbalancer/{self.balancer.id}/start"
        return str(self.agent.expect("PUT", path, status=(202,)).fields().get("details"))

    def listeners_active(self) -> str:
        answer = self.agent.expect("GET", f"/{API_VERSION}/listeners").entries()
        states = {entry.get("uuid"): entry.get("status") for entry in answer}
        for kind, listener in self.balancer.listeners.items():
            if states.get(listener) != "ACTIVE":
                raise CheckFailedError(f"the {kind} listener is {states.get(listener)}: {answer}")
        return f"{', '.join(self.balancer.listeners)} are ACTIVE"

    def serves_http(self) -> str:
        return self._through_haproxy(lb.HTTP_PORT, None)

    def serves_https(self) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.certificate_ca.certificate_pem.decode())
        return self._through_haproxy(lb.TLS_PORT, context)

    def _through_haproxy(self, port: int, context: ssl.SSLContext | None) -> str:
        expected = secrets.token_hex(16).encode()
        with lb.member(self.amphora.namespace, expected) as member:
            status, body = lb.fetch(self.amphora.namespace, port, "/", context)
            if (status, body) != (200, expected):
                raise CheckFailedError(f"HAProxy answers {status}: {body[:200]!r}")
            if member.peers[-1:] == [VIP.ours] or not member.peers:
                raise CheckFailedError(f"the member was asked by {member.peers}, not by HAProxy")
            return f"the member was asked by {member.peers[-1]}"

    def serves_metrics(self) -> str:
        end = time.monotonic() + TRAFFIC_TIMEOUT
        while True:
            status, body = lb.fetch(self.amphora.namespace, lb.METRICS_PORT, "/metrics")
            names = set(re.findall(rb"^(octavia_\w+)", body, re.MULTILINE))
            if status == 200 and names:
                return f"{len(names)} metrics"
            if time.monotonic() > end:
                raise CheckFailedError(f"{status}: {body[:200]!r}")
            time.sleep(2)

    def boot_completes(self) -> str:
        self.facts["kernel_version"] = self.guest.kernel()
        end = time.monotonic() + BOOT_COMPLETE_TIMEOUT
        while (state := self.guest.state()) not in {"running", "degraded"}:
            if time.monotonic() > end:
                raise CheckFailedError(f"systemd is still {state}: {self.guest.jobs()}")
            self.progress(f"waiting for the boot to complete: {state}", None)
            time.sleep(3)
        return f"{state} {self.amphora.machine.age:.0f} s after power-on"

    def no_failed_unit(self) -> str:
        failed = self.guest.failed_units()
        if failed:
            raise CheckFailedError(f"{', '.join(failed)} failed")
        return "none"

    def ssh_on_management_only(self) -> str:
        end = time.monotonic() + SSH_TIMEOUT
        while True:
            try:
                return self.guest.require_ssh(self.ssh)
            except NotYetError as nobody:
                if time.monotonic() > end:
                    raise CheckFailedError(str(nobody)) from nobody
                time.sleep(3)

    def collect_evidence(self, log_dir: Path) -> None:
        """Write what the guest knows about its troubles, and let it write what it has to its disk.

        A power cut then finds there whatever the guest meant to keep.
        """
        text = "nobody answers inside the machine\n"
        if self.amphora.probe.poll():
            try:
                text = self.guest.troubles()
                self.guest.sync()
            except CheckFailedError as silence:
                text = f"{silence}\n"
        (log_dir / "journal-of-failed.log").write_text(text)
