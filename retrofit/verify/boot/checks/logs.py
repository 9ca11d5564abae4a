"""Log offloading: the controller's log receivers get traffic and administration."""

from __future__ import annotations

import socket
import time

from retrofit.verify.boot import load_balancer as lb
from retrofit.verify.boot.config_drive import ADMINISTRATIVE_LOG_PORT, TENANT_LOG_PORT
from retrofit.verify.boot.members import answering
from retrofit.verify.boot.network import MANAGEMENT
from retrofit.verify.boot.traffic import fetch
from retrofit.verify.boot.trial import Trial
from retrofit.verify.checks import CheckFailedError

LOG_TIMEOUT = 60.0
LONGEST_MESSAGE = 9000
MOST_MESSAGES = 10000
"""Kept of what a guest sends."""


def receive_logs(trial: Trial) -> str:
    """Receive the logs of traffic and of administration from now on."""
    ours, _ = MANAGEMENT.ends(trial.amphora.scenario.management)
    for port in (TENANT_LOG_PORT, ADMINISTRATIVE_LOG_PORT):
        messages = trial.logs.setdefault(port, [])
        receiver = trial.session.enter_context(
            trial.amphora.namespace.open_socket(socket.SOCK_DGRAM, ipv6=":" in ours)
        )
        receiver.bind((ours, port))

        def keep(receiver: socket.socket, messages: list[str] = messages) -> None:
            message = receiver.recv(LONGEST_MESSAGE).decode(errors="replace")
            if len(messages) < MOST_MESSAGES:
                messages.append(message)

        trial.session.enter_context(answering(receiver, keep))
    return "received"


def offloads_logs(trial: Trial) -> str:
    """Send a request, and wait for its log line and for one of the agent's at their ports."""
    listener = trial.balancer.listeners["plain"].id
    end = time.monotonic() + LOG_TIMEOUT
    trial.progress("waiting for logs of traffic and administration", None)
    while True:
        fetch(trial.amphora.namespace, lb.HTTP_PORT, address=trial.balancer.address)
        traffic = [line for line in trial.logs[TENANT_LOG_PORT] if listener in line]
        administrative = trial.logs[ADMINISTRATIVE_LOG_PORT]
        if traffic and administrative:
            return f"{len(traffic)} of traffic, {len(administrative)} of administration"
        if time.monotonic() > end:
            raise CheckFailedError(
                f"within {LOG_TIMEOUT:g} s came {len(traffic)} of the listener and"
                f" {len(administrative)} of administration"
            )
        trial.agent.ask("GET", "/")
        time.sleep(1)
