"""The load balancer after a reboot, and after a power cut: it serves without any call of ours."""

from __future__ import annotations

import time

from retrofit.verify.boot import load_balancer as lb
from retrofit.verify.boot.checks.agent import API_VERSION, ATTEMPT_TIMEOUT
from retrofit.verify.boot.checks.balancer import keep_plain_only
from retrofit.verify.boot.checks.traffic import members, through_haproxy
from retrofit.verify.boot.machine import MachineLostError
from retrofit.verify.boot.power_cut import certificates_gone
from retrofit.verify.boot.trial import Trial
from retrofit.verify.checks import CheckFailedError

SHUTDOWN_TIMEOUT = 600.0
GRACE = 240.0
"""Seconds that the load balancer gets once the agent answers: HAProxy starts at about that time."""
INTERVAL = 2.0


def survives_reboot(trial: Trial) -> str:
    """Reboot the machine, and wait for traffic through the VIP."""
    keep_plain_only(trial)
    trial.collect_evidence()
    trial.guest.reboot()
    end = time.monotonic() + SHUTDOWN_TIMEOUT
    trial.progress("waiting for the machine to shut down", None)
    while trial.amphora.machine.runs:
        if time.monotonic() > end:
            raise CheckFailedError(f"it does not shut down within {SHUTDOWN_TIMEOUT:g} s")
        time.sleep(0.5)
    return _serves_again(trial)


def survives_power_cut(trial: Trial) -> str:
    """Cut the power, switch the machine on, and wait for traffic through the VIP."""
    trial.collect_evidence()
    trial.amphora.machine.cut_power()
    return _serves_again(trial)


def _serves_again(trial: Trial) -> str:
    """Switch the machine on and return how long it takes until HTTP through the VIP works."""
    trial.restart()
    members(trial)
    answered: float | None = None
    last = "nothing"
    while (machine := trial.amphora.machine).age < trial.settings.timeout:
        trial.progress(f"waiting for traffic after the restart: {machine.last_line()[:80]}", None)
        try:
            trial.require_alive()
        except MachineLostError as lost:
            raise CheckFailedError(str(lost)) from lost
        try:
            through_haproxy(trial, lb.HTTP_PORT)
        except (OSError, CheckFailedError) as error:
            last = f"{type(error).__name__}: {error}"
        else:
            return f"HTTP {machine.age:.0f} s after power-on{_cards(trial)}"
        if answered is None and _agent_answers(trial):
            answered = machine.age
        if answered is not None and machine.age > answered + GRACE:
            break
        time.sleep(INTERVAL)
    raise CheckFailedError(
        f"no HTTP through the VIP {machine.age:.0f} s after power-on: {last}{_cards(trial)}"
    )


def _agent_answers(trial: Trial) -> bool:
    try:
        answer = trial.agent.ask("GET", f"/{API_VERSION}/info", timeout=ATTEMPT_TIMEOUT)
    except OSError:
        return False
    return answer.status == 200


def _cards(trial: Trial) -> str:
    """Return which cards are where: what a lost VIP comes from. Empty when nobody answers."""
    if not trial.amphora.probe.poll():
        return ""
    try:
        return f"; {trial.guest.cards()}"
    except CheckFailedError:
        return ""


def certificates_are_gone(trial: Trial) -> str:
    """Search what was written to the disk for a private key (PEM) that must not be there."""
    if not trial.evident:
        trial.collect_evidence()
    trial.amphora.machine.cut_power()
    return certificates_gone(
        trial.amphora.hardware.overlay,
        secret=trial.certificate.key_pem,
        control=trial.amphora.credentials.server.key_pem,
    )
