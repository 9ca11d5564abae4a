"""An amphora of a pair, with us as the other one: VRRP, and traffic at the VIP as it moves."""

from __future__ import annotations

import json
import secrets
import time

from retrofit.verify.boot import load_balancer as lb
from retrofit.verify.boot import vrrp
from retrofit.verify.boot.checks.agent import API_VERSION, info
from retrofit.verify.boot.checks.balancer import configure, starts_balancer
from retrofit.verify.boot.checks.traffic import through_haproxy
from retrofit.verify.boot.configs import keepalived
from retrofit.verify.boot.network import PEER_ADDRESS, VIP
from retrofit.verify.boot.trial import Trial
from retrofit.verify.boot.vrrp import Advertisement, Peer
from retrofit.verify.checks import CheckFailedError

MASTER_TIMEOUT = 180.0
YIELD_TIMEOUT = 30.0
BETTER_PRIORITY = 200
SILENCE = 5.0
"""Seconds without an advertisement that make a backup: a master sends one each second."""
KNOCK_TIMEOUT = 2.0
PASSWORD = "retro17"  # noqa: S105 -- of a network that nobody else is on
"""VRRPv2 has room for eight characters; Octavia's has seven."""


def starts_pair(trial: Trial) -> str:
    """Configure keepalived and HAProxy, and start the load balancer."""
    info(trial)  # for HAProxy's version
    configuration = keepalived.keepalived_config(
        group=secrets.token_hex(16),
        password=PASSWORD,
        ours=VIP.theirs,
        peer=PEER_ADDRESS,
        vips=tuple(
            keepalived.Address(address=vip.address, network=vip.network, gateway=vip.gateway)
            for vip in trial.balancer.vips
        ),
    )
    trial.agent.expect("PUT", f"/{API_VERSION}/vrrp/upload", configuration.encode())
    if trial.has_rules:
        set_rules(trial, lb.HTTP_PORT)
    configure(trial)
    return starts_balancer(trial)


def set_rules(trial: Trial, *ports: int) -> None:
    """Let the VIP's interface take TCP to these ports, and the peer's VRRP, as Octavia does."""
    rules: list[dict[str, object]] = [
        {"protocol": "TCP", "cidr": None, "port": port} for port in ports
    ]
    rules.append({"protocol": "vrrp", "cidr": f"{PEER_ADDRESS}/32", "port": vrrp.PROTOCOL})
    trial.agent.expect(
        "PUT",
        f"/{API_VERSION}/interface/{trial.balancer.vips[0].vrrp_ip}/rules",
        json.dumps(rules).encode(),
    )


def follows_rules(trial: Trial) -> str:
    """Make sure that the rules of the VIP's interface close a port, and open it."""
    if knock(trial, lb.CLOSED_PORT):
        raise CheckFailedError(f"port {lb.CLOSED_PORT} is open, and {lb.HTTP_PORT} is allowed")
    through_haproxy(trial, lb.HTTP_PORT)
    set_rules(trial, lb.HTTP_PORT, lb.CLOSED_PORT)
    through_haproxy(trial, lb.CLOSED_PORT)
    return f"port {lb.CLOSED_PORT} closed, then open; {lb.HTTP_PORT} open"


def becomes_master(trial: Trial) -> str:
    """Start keepalived, wait for its advertisements, and send a request to the VIP."""
    trial.agent.expect("PUT", f"/{API_VERSION}/vrrp/start", status=(202,))
    began = time.monotonic()
    heard = _await_master(trial, MASTER_TIMEOUT)
    wrong = set(heard.addresses) != set(_advertised(trial))
    if wrong or heard.priority != keepalived.MASTER_PRIORITY:
        raise CheckFailedError(
            f"it advertises {', '.join(heard.addresses)} with priority {heard.priority}"
        )
    seconds = time.monotonic() - began
    return f"advertised after {seconds:.0f} s, served after {_await_traffic(trial, began):.0f} s"


def yields(trial: Trial) -> str:
    """Advertise a higher priority, and wait until the amphora gives the VIP away."""
    began = time.monotonic()
    peer = peer_of(trial)
    with peer.master(_better(trial)):
        trial.progress("waiting for the amphora to give the VIP away", None)
        while time.monotonic() - began < YIELD_TIMEOUT:
            peer.forget()
            if peer.hear(SILENCE) is None and not knock(trial, lb.HTTP_PORT):
                return f"silent and gone after {time.monotonic() - began:.0f} s"
    raise CheckFailedError(
        f"the VIP is still there {YIELD_TIMEOUT:g} s after advertisements with priority"
        f" {BETTER_PRIORITY}"
    )


def returns(trial: Trial) -> str:
    """Fall silent, and wait until the amphora serves the VIP again."""
    began = time.monotonic()
    _await_master(trial, MASTER_TIMEOUT)
    return f"traffic again after {_await_traffic(trial, began):.1f} s"


def peer_of(trial: Trial) -> Peer:
    """Return our end of the pair, made at the first call."""
    if trial.peer is None:
        trial.peer = Peer(trial.amphora.namespace, PEER_ADDRESS, VIP.theirs)
        trial.session.callback(trial.peer.close)
    return trial.peer


def _advertised(trial: Trial) -> tuple[str, ...]:
    """Return the VIPs of keepalived's own family: it advertises no others."""
    return tuple(vip.address for vip in trial.balancer.vips if ":" not in vip.address)


def _better(trial: Trial) -> Advertisement:
    return Advertisement(
        router=keepalived.ROUTER_ID,
        priority=BETTER_PRIORITY,
        interval=keepalived.ADVERTISEMENT_INTERVAL,
        addresses=_advertised(trial),
        password=PASSWORD,
    )


def _await_master(trial: Trial, timeout: float) -> Advertisement:
    trial.progress("waiting for the amphora's advertisements", None)
    peer = peer_of(trial)
    peer.forget()
    heard = peer.hear(timeout)
    if heard is None:
        raise CheckFailedError(f"no advertisement within {timeout:g} s")
    return heard


def _await_traffic(trial: Trial, began: float) -> float:
    """Return the seconds since `began` until a request is answered at the VIP."""
    while True:
        try:
            through_haproxy(trial, lb.HTTP_PORT)
            return time.monotonic() - began
        except (OSError, CheckFailedError):
            if time.monotonic() - began > MASTER_TIMEOUT:
                raise
            time.sleep(0.5)


def knock(trial: Trial, port: int) -> bool:
    """Return True if something accepts connections at the VIP."""
    try:
        trial.amphora.namespace.connect((trial.balancer.address, port), KNOCK_TIMEOUT).close()
    except OSError:
        return False
    return True
