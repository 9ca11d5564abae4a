"""UDP and SCTP, which the amphora's kernel balances by LVS."""

from __future__ import annotations

import secrets
import socket
import time

from retrofit.verify.boot import load_balancer as lb
from retrofit.verify.boot import sctp
from retrofit.verify.boot.checks.balancer import starts_lvs
from retrofit.verify.boot.members import udp_server
from retrofit.verify.boot.network import MEMBER
from retrofit.verify.boot.trial import Trial
from retrofit.verify.checks import CheckFailedError

LVS_TIMEOUT = 180.0
"""Seconds from the start of a listener until its member was checked and traffic flows."""
ANSWER_TIMEOUT = 5.0


def starts_udp(trial: Trial) -> str:
    """Upload and start a UDP listener."""
    return starts_lvs(trial, "udp")


def starts_sctp(trial: Trial) -> str:
    """Upload and start an SCTP listener."""
    return starts_lvs(trial, "sctp")


def carries_udp(trial: Trial) -> str:
    """Send packets to the VIPs, and get them back from members of their families."""
    namespace = trial.amphora.namespace
    with (
        udp_server(namespace, MEMBER.ours, lb.UDP_MEMBER_PORT) as clients,
        udp_server(namespace, MEMBER.ours6, lb.UDP_MEMBER_PORT) as clients6,
    ):
        seen = []
        for vip in trial.balancer.vips:
            took = _echoed(trial, vip)
            ipv6 = ":" in vip.address
            peer = (clients6 if ipv6 else clients)[-1]
            expected = MEMBER.theirs6 if ipv6 else MEMBER.theirs
            if peer != expected:
                raise CheckFailedError(f"the member was asked by {peer}, expected {expected}")
            seen.append(f"{vip.address} by {peer} after {took:.0f} s")
    return "; ".join(seen)


def _echoed(trial: Trial, vip: lb.Vip) -> float:
    """Return the seconds until a packet to a VIP came back."""
    began = time.monotonic()
    trial.progress(f"waiting for UDP through {vip.address}", None)
    with trial.amphora.namespace.open_socket(socket.SOCK_DGRAM, ipv6=":" in vip.address) as client:
        client.bind((vip.gateway, 0))
        client.settimeout(ANSWER_TIMEOUT)
        while time.monotonic() - began < LVS_TIMEOUT:
            word = secrets.token_bytes(16)
            try:
                client.sendto(word, (vip.address, lb.UDP_PORT))
                data, sender = client.recvfrom(4096)
            except OSError as error:
                last = f"{type(error).__name__}: {error}"
                if not isinstance(error, TimeoutError):
                    time.sleep(1)  # refused at once, as long as no member is up
                continue
            if data == word and sender[0] == vip.address:
                return time.monotonic() - began
            last = f"{len(data)} bytes from {sender[0]}"
    raise CheckFailedError(f"nothing came back from {vip.address} in {LVS_TIMEOUT:g} s: {last}")


def carries_sctp(trial: Trial) -> str:
    """Open an association through the VIP: an INIT reaches the member, its answer comes back."""
    (member,) = trial.balancer.listeners["sctp"].required_pool.members
    ipv6 = ":" in member.address
    vip = next(each for each in trial.balancer.vips if (":" in each.address) == ipv6)
    began = time.monotonic()
    namespace = trial.amphora.namespace
    trial.progress(f"waiting for SCTP through {vip.address}", None)
    answer: int | None = None
    with sctp.sctp_member(namespace, member.address, member.port) as senders:
        while time.monotonic() - began < LVS_TIMEOUT:
            answer = sctp.initiate(
                namespace, vip.gateway, vip.address, lb.SCTP_PORT, timeout=ANSWER_TIMEOUT
            )
            if answer == sctp.INIT_ACK:
                by = f", the member was asked by {senders[-1]}" if senders else ""
                return f"INIT ACK after {time.monotonic() - began:.0f} s{by}"
    came = "nothing" if answer is None else f"a chunk of type {answer}"
    raise CheckFailedError(f"{came} came back from {vip.address} in {LVS_TIMEOUT:g} s")
