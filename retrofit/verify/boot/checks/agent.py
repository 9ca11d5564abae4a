"""The agent: does it answer, to whom, with what; does the boot complete."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress

from retrofit.verify.boot.certificates import issued
from retrofit.verify.boot.config_drive import AGENT_PORT
from retrofit.verify.boot.guest import NotYetError
from retrofit.verify.boot.machine import MachineLostError
from retrofit.verify.boot.trial import Trial
from retrofit.verify.checks import CheckFailedError

API_VERSION = "1.0"
ATTEMPT_TIMEOUT = 30.0
BOOT_COMPLETE_TIMEOUT = 240.0
SSH_TIMEOUT = 60.0
SSH_PORT = 22
AGENT_STATE_INTERVAL = 15.0
ROTATION_TIMEOUT = 120.0


def answers(trial: Trial) -> str:
    """Wait for the agent over mutual TLS, verify.timeout seconds from power-on at most."""
    last, asked = "nothing", 0.0
    while (machine := trial.amphora.machine).age < trial.settings.timeout:
        # Once something listens there, its error means more than the console.
        seen = last if "SSL" in last else machine.last_line()
        trial.progress(f"waiting for the agent: {seen[:100]}", machine.age / trial.settings.timeout)
        try:
            trial.require_alive()
        except MachineLostError as lost:
            raise CheckFailedError(str(lost)) from lost
        try:
            answer = trial.agent.ask("GET", f"/{API_VERSION}/info", timeout=ATTEMPT_TIMEOUT)
            if answer.status == 200:
                return f"{machine.age:.0f} s after power-on, {trial.amphora.note}"
            last = f"{answer.status} {answer.excerpt}"
        except OSError as error:
            last = f"{type(error).__name__}: {error}"
        if time.monotonic() - asked > AGENT_STATE_INTERVAL and trial.amphora.probe.poll():
            asked = time.monotonic()
            trial.guest.require_agent_may_answer()
        time.sleep(1)
    raise CheckFailedError(
        f"no answer within {trial.settings.timeout} s of power-on; last: {last};"
        f" console: {machine.last_line()}"
    )


def refuses_no_certificate(trial: Trial) -> str:
    """Make sure that the agent refuses a client without a certificate."""
    return _refused(trial, stranger=False, who="without a certificate")


def refuses_foreign_certificate(trial: Trial) -> str:
    """Make sure that the agent refuses a client with another CA's certificate."""
    return _refused(trial, stranger=True, who="with another CA's certificate")


def _refused(trial: Trial, *, stranger: bool, who: str) -> str:
    how = trial.agent.refusal(stranger=stranger)
    if how is None:
        raise CheckFailedError(f"a client {who} was served")
    return how


def tls_version(trial: Trial) -> str:
    """Make sure that the agent agrees on TLS 1.2 or 1.3, and on nothing older."""
    version = trial.agent.expect("GET", "/").tls_version
    if version not in {"TLSv1.2", "TLSv1.3"}:
        raise CheckFailedError(f"{version} was agreed on")
    if trial.agent.accepts_old_tls():
        raise CheckFailedError("TLS 1.1 or older is accepted")
    return version


def api_version(trial: Trial) -> str:
    """Compare the agent's API version with Octavia's."""
    answer = trial.agent.expect("GET", "/").fields()
    if answer != {"api_version": API_VERSION}:
        raise CheckFailedError(f"GET / returns {answer}")
    return API_VERSION


def info(trial: Trial) -> str:
    """Compare the agent's host name and API version, and read HAProxy's version."""
    answer = trial.agent.expect("GET", f"/{API_VERSION}/info").fields()
    expected = f"amphora-{trial.amphora.id}"
    if answer.get("hostname") != expected:
        raise CheckFailedError(f"hostname is {answer.get('hostname')}, expected {expected}")
    if answer.get("api_version") != API_VERSION or not answer.get("haproxy_version"):
        raise CheckFailedError(f"GET /1.0/info returns {answer}")
    trial.facts["haproxy_version"] = str(answer["haproxy_version"])
    trial.haproxy = version_numbers(trial.facts["haproxy_version"])
    return f"HAProxy {answer['haproxy_version']}"


def details(trial: Trial) -> str:
    """Read the details that Octavia shows: networks, memory, disk, load."""
    answer = trial.agent.expect("GET", f"/{API_VERSION}/details").fields()
    missing = [key for key in ("networks", "memory", "disk", "load") if key not in answer]
    if missing or not answer.get("active"):
        raise CheckFailedError(f"GET /1.0/details returns {json.dumps(answer)[:400]}")
    return f"active, networks {', '.join(answer['networks'])}"


def heartbeat(trial: Trial) -> str:
    """Wait for a heartbeat, and authenticate and decode it as the health manager does."""
    message = trial.heartbeat()
    return f"authentic, version {message['ver']}, sequence {message.get('seq')}"


def management(trial: Trial) -> str:
    """Make sure that agent, heartbeats and sshd use the management network's address family."""
    trial.agent.expect("GET", "/")
    message = trial.heartbeat()
    seen = [f"agent at {trial.theirs}", f"heartbeat {message.get('seq')}"]
    if trial.ssh != "remove":
        seen.append(_ssh_banner(trial))
    return ", ".join(seen)


def management_over_slaac(trial: Trial) -> str:
    """Wait for the agent at the address that SLAAC gives, then for a heartbeat, and ask sshd.

    The management network of this boot has IPv6 alone.
    """
    found = answers(trial)
    return f"{found}; {management(trial)}"


def _ssh_banner(trial: Trial) -> str:
    """Return the first words of sshd, which may start after the agent."""
    end = time.monotonic() + SSH_TIMEOUT
    while True:
        try:
            with trial.amphora.namespace.connect(
                (trial.theirs, SSH_PORT), ATTEMPT_TIMEOUT
            ) as connection:
                banner = connection.recv(256)
            if banner.startswith(b"SSH-"):
                return banner.split(b"\r")[0].decode(errors="replace").strip()
            raise CheckFailedError(f"port {SSH_PORT} answers {banner!r}")
        except OSError as error:
            if time.monotonic() > end:
                raise CheckFailedError(f"sshd at {trial.theirs}: {error}") from error
            time.sleep(2)


def rotates_certificate(trial: Trial) -> str:
    """Give the agent a new server certificate, and wait until it shows it."""
    credentials = trial.amphora.credentials
    name = trial.amphora.id
    renewed = issued(credentials.server_ca, name, dns_name=name)
    began = time.monotonic()
    trial.agent.expect("PUT", f"/{API_VERSION}/certificate", renewed.pem, status=(202,))
    wanted = renewed.certificate_der
    while time.monotonic() - began < ROTATION_TIMEOUT:
        # It restarts for that: there is a moment without an answer.
        with suppress(OSError):
            if trial.agent.certificate() == wanted:
                trial.agent.expect("GET", "/")
                return f"shown after {time.monotonic() - began:.0f} s"
        trial.progress("waiting for the agent's new certificate", None)
        time.sleep(1)
    raise CheckFailedError(f"port {AGENT_PORT} does not show it after {ROTATION_TIMEOUT:g} s")


def boot_completes(trial: Trial) -> str:
    """Wait until systemd has finished the boot."""
    trial.facts["kernel_version"] = trial.guest.kernel()
    end = time.monotonic() + BOOT_COMPLETE_TIMEOUT
    while (state := trial.guest.state()) not in {"running", "degraded"}:
        if time.monotonic() > end:
            raise CheckFailedError(f"systemd is still {state}: {trial.guest.jobs()}")
        trial.progress(f"waiting for the boot to complete: {state}", None)
        time.sleep(3)
    return f"{state} {trial.amphora.machine.age:.0f} s after power-on"


def no_failed_unit(trial: Trial) -> str:
    """Make sure that no systemd unit failed."""
    failed = trial.guest.failed_units()
    if failed:
        raise CheckFailedError(f"{', '.join(failed)} failed")
    return "none"


def ssh_on_management_only(trial: Trial) -> str:
    """Make sure that sshd listens on the management address only, or not at all."""
    end = time.monotonic() + SSH_TIMEOUT
    while True:
        try:
            return trial.guest.require_ssh(trial.ssh, trial.theirs)
        except NotYetError as not_yet:
            if time.monotonic() > end:
                raise CheckFailedError(str(not_yet)) from not_yet
            time.sleep(3)


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of a version: 3, 0 and 11 of `3.0.11-1`."""
    found = re.match(r"\d{1,6}(\.\d{1,6})*", version)
    return () if found is None else tuple(int(part) for part in found[0].split("."))
