"""Health monitors: members go down when they are down, and up when they are up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from retrofit.verify.boot import load_balancer as lb
from retrofit.verify.boot.heartbeat import Message, member_states
from retrofit.verify.boot.members import tcp_server, udp_server, web_server
from retrofit.verify.boot.network import MEMBER, Namespace
from retrofit.verify.boot.sctp import sctp_member
from retrofit.verify.boot.trial import Trial

Serve = Callable[[Namespace, str, int], AbstractContextManager[object]]

STATE_TIMEOUT = 180.0
"""Seconds for a change of a member's state: in emulation a check of HAProxy's takes some."""


def sees_http(trial: Trial) -> str:
    """Start and stop members with a monitor of type HTTP, and wait for their states."""
    return _watch_served(trial, "http-monitor", web_server)


def sees_tcp(trial: Trial) -> str:
    """Start and stop members with a monitor of type TCP, and wait for their states."""
    return _watch_served(trial, "tcp-monitor", tcp_server)


def sees_ping(trial: Trial) -> str:
    """Give members with a monitor of type PING their addresses, and wait for their states."""
    return _watch(trial, "ping-monitor", _addresses(trial.amphora.namespace))


def sees_udp(trial: Trial) -> str:
    """Start and stop members with a monitor of type UDP-CONNECT, and wait for their states."""
    return _watch_served(trial, "udp", udp_server)


def sees_sctp(trial: Trial) -> str:
    """Start and stop a member with a monitor of type SCTP, and wait for its states.

    Keepalived takes a member for up until its first checks have failed: traffic proves no checker.
    """
    return _watch_served(trial, "sctp", sctp_member)


def _watch_served(trial: Trial, name: str, serve: Serve) -> str:
    """Watch the members of a listener's pool, which come up by serving their ports."""
    return _watch(trial, name, _served(trial, name, serve))


def _watch(trial: Trial, name: str, members: AbstractContextManager[object]) -> str:
    """Wait until all members are down, bring them up, wait until they are up."""
    down = _await(trial, name, "DOWN")
    with members:
        up = _await(trial, name, "UP")
    return f"DOWN after {down:.0f} s, UP after {up:.0f} s"


def _await(trial: Trial, name: str, wanted: str) -> float:
    """Return the seconds until heartbeats report every member of a listener's pool in a state."""
    pool = trial.balancer.listeners[name].required_pool
    trial.progress(f"waiting for the members of {name} to be {wanted}", None)
    began = time.monotonic()

    def lacks(message: Message) -> str | None:
        states = member_states(message, pool.id)
        for member in pool.members:
            if states.get(member.id) != wanted:
                return f"member {member.address} is {states.get(member.id)}, expected {wanted}"
        return None

    trial.heartbeat(lacks=lacks, timeout=STATE_TIMEOUT)
    return time.monotonic() - began


@contextmanager
def _served(trial: Trial, name: str, serve: Serve) -> Iterator[None]:
    """Serve the members of a listener's pool for the length of the block."""
    with ExitStack() as stack:
        for member in trial.balancer.listeners[name].required_pool.members:
            stack.enter_context(serve(trial.amphora.namespace, member.address, member.port))
        yield


@contextmanager
def _addresses(namespace: Namespace) -> Iterator[None]:
    """Have the late addresses of the member network for the length of the block."""
    late = (f"{lb.LATE_ADDRESS}/24", f"{lb.LATE_ADDRESS6}/64")
    device = MEMBER.device
    namespace.configure(*(f"address add {each} dev {device} {_no_dad(each)}" for each in late))
    try:
        yield
    finally:
        namespace.configure(*(f"address del {each} dev {device}" for each in late))


def _no_dad(address: str) -> str:
    return "nodad" if ":" in address else ""
