"""The load balancer: plugged, configured, started, counted, and taken apart."""

from __future__ import annotations

import json
import time

from retrofit.control_plane.agents import ADDITIONAL_VIPS
from retrofit.verify.agent_files import CERTIFICATE_DIRECTORY
from retrofit.verify.boot import heartbeat
from retrofit.verify.boot.checks.agent import API_VERSION
from retrofit.verify.boot.configs.lvs import lvs_config
from retrofit.verify.boot.configs.model import certificate_path
from retrofit.verify.boot.load_balancer import CLIENT_CA, MEMBER_CA, UDP_PORT, Vip
from retrofit.verify.boot.network import MEMBER, VIP
from retrofit.verify.boot.traffic import fetch
from retrofit.verify.boot.trial import Trial
from retrofit.verify.checks import CheckFailedError

MTU = 1500
RELOAD_TIMEOUT = 60.0


def plugs_vip(trial: Trial) -> str:
    """Plug the VIPs into a second network card."""
    primary, *additional = trial.balancer.vips
    body = {
        **_subnet(primary),
        "mac_address": VIP.mac,
        "vrrp_ip": primary.vrrp_ip,
        "mtu": MTU,
        "additional_vips": [{"ip_address": vip.address, **_subnet(vip)} for vip in additional],
        # Of an SR-IOV port nobody but the amphora filters the packets: half of the trial has one.
        "is_sriov": trial.has_rules,
    }
    answer = trial.agent.expect(
        "POST",
        f"/{API_VERSION}/plug/vip/{primary.address}",
        json.dumps(body).encode(),
        status=(202,),
    )
    return str(answer.fields().get("details"))


def _subnet(vip: Vip) -> dict[str, object]:
    return {"subnet_cidr": vip.network, "gateway": vip.gateway, "host_routes": []}


def plugs_member_network(trial: Trial) -> str:
    """Plug a member network, with an address of each family, into a third network card."""
    body = {
        "mac_address": MEMBER.mac,
        "mtu": MTU,
        "fixed_ips": [
            {"ip_address": address, "subnet_cidr": subnet, "host_routes": []}
            for address, subnet in (
                (MEMBER.theirs, MEMBER.cidr),
                (MEMBER.theirs6, MEMBER.cidr6),
            )
        ],
        "is_sriov": False,
    }
    answer = trial.agent.expect(
        "POST", f"/{API_VERSION}/plug/network", json.dumps(body).encode(), status=(202,)
    )
    return str(answer.fields().get("details"))


def takes_certificate(trial: Trial) -> str:
    """Upload the certificate of a TLS listener."""
    name = trial.balancer.certificate_name
    upload(trial, name, trial.certificate.pem)
    for listener in trial.balancer.listeners.values():
        if listener.protocol == "TERMINATED_HTTPS":
            path = certificate_path(trial.balancer.id, name)
            upload(trial, f"{listener.id}.pem", f"{path}\n".encode())
    if trial.full:
        upload(trial, CLIENT_CA, trial.client_ca.certificate_pem)
        upload(trial, MEMBER_CA, trial.member_ca.certificate_pem)
    answer = trial.agent.expect("GET", _certificate(trial, name)).fields()
    return str(answer.get("md5sum"))


def upload(trial: Trial, name: str, content: bytes) -> None:
    """Upload a file into the load balancer's certificate directory."""
    trial.agent.expect("PUT", _certificate(trial, name), content)


def _certificate(trial: Trial, name: str) -> str:
    return f"/{API_VERSION}/loadbalancer/{trial.balancer.id}/certificates/{name}"


def certificates_on_ram(trial: Trial) -> str:
    """Make sure that uploaded certificates are in memory only."""
    return trial.guest.require_on_ram(CERTIFICATE_DIRECTORY)


def takes_configuration(trial: Trial) -> str:
    """Upload HAProxy's configuration, which the agent checks with HAProxy itself."""
    configure(trial)
    return "haproxy accepts it"


def configure(trial: Trial, *names: str) -> None:
    """Upload HAProxy's configuration of all listeners, or of those that are named."""
    trial.agent.expect(
        "PUT",
        f"/{API_VERSION}/loadbalancer/{trial.amphora.id}/{trial.balancer.id}/haproxy",
        trial.balancer.haproxy_config(trial.haproxy, *names).encode(),
        status=(202,),
    )


def starts_balancer(trial: Trial) -> str:
    """Start the load balancer."""
    return change(trial, trial.balancer.id, "start")


def change(trial: Trial, service: str, action: str) -> str:
    """Start or reload a load balancer, or a listener by LVS."""
    path = f"/{API_VERSION}/loadbalancer/{service}/{action}"
    return str(trial.agent.expect("PUT", path, status=(202,)).fields().get("details"))


def starts_lvs(trial: Trial, name: str) -> str:
    """Upload the configuration of a listener that LVS serves, and start it."""
    listener = trial.balancer.listeners[name]
    trial.agent.expect(
        "PUT",
        f"/{API_VERSION}/listeners/{trial.amphora.id}/{listener.id}/udp_listener",
        lvs_config(
            trial.balancer.described(), listener, grouped=trial.has(ADDITIONAL_VIPS)
        ).encode(),
    )
    return change(trial, listener.id, "start")


def served_by_haproxy(trial: Trial) -> dict[str, str]:
    """Return the ids of the listeners that HAProxy serves, by their names."""
    return {name: each.id for name, each in trial.balancer.listeners.items() if each.by_haproxy}


def listeners_active(trial: Trial) -> str:
    """Make sure that every listener is ACTIVE."""
    answer = trial.agent.expect("GET", f"/{API_VERSION}/listeners").entries()
    states = {entry.get("uuid"): entry.get("status") for entry in answer}
    listeners = served_by_haproxy(trial)
    for name, listener in listeners.items():
        if states.get(listener) != "ACTIVE":
            raise CheckFailedError(f"the {name} listener is {states.get(listener)}: {answer}")
    return f"{', '.join(listeners)} are ACTIVE"


def heartbeat_reports_listeners(trial: Trial) -> str:
    """Wait for a heartbeat that reports every listener as OPEN."""
    listeners = served_by_haproxy(trial)
    trial.heartbeat(listeners=listeners.values())
    return f"{', '.join(listeners)} are OPEN"


def statistics_in_heartbeats(trial: Trial) -> str:
    """Send requests, and wait for heartbeats that count their connections and bytes."""
    requests = 3
    listener = trial.balancer.listeners["plain"].id
    heartbeat.forget(trial.amphora.heartbeats)
    for _ in range(requests):
        fetch(trial.amphora.namespace, 80, address=trial.balancer.address)
    # Counters are of the time since the last heartbeat.
    total: dict[str, int] = {}

    def lacks(message: heartbeat.Message) -> str | None:
        for name, value in heartbeat.statistics(message, listener).items():
            total[name] = total.get(name, 0) + value
        if total.get("totconns", 0) < requests or not total.get("rx") or not total.get("tx"):
            return f"they count {total} for {requests} requests"
        return None

    trial.heartbeat(lacks=lacks)
    return ", ".join(f"{name} {total.get(name)}" for name in ("totconns", "rx", "tx", "ereq"))


def deletes_listeners(trial: Trial) -> str:
    """Delete a UDP listener and all HAProxy's but one, and make sure that they are gone."""
    deleted = trial.balancer.listeners["udp"].id
    trial.agent.expect("DELETE", f"/{API_VERSION}/listeners/{deleted}")
    keep_plain_only(trial)
    answer = trial.agent.expect("GET", f"/{API_VERSION}/listeners").entries()
    left = {str(entry.get("uuid")) for entry in answer}
    plain = trial.balancer.listeners["plain"].id
    gone = {each.id for each in trial.balancer.listeners.values() if each.by_haproxy} - {plain}
    if plain not in left or left & (gone | {deleted}):
        raise CheckFailedError(f"GET /listeners returns {answer}")
    port = trial.balancer.listeners["encrypted"].port
    began = time.monotonic()
    # The agent answers before HAProxy has read what it is to reload.
    while time.monotonic() - began < RELOAD_TIMEOUT:
        try:
            fetch(trial.amphora.namespace, port, address=trial.balancer.address, timeout=10)
        except OSError as refused:
            after = time.monotonic() - began
            return (
                f"{len(gone)} of HAProxy after {after:.0f} s ({type(refused).__name__}),"
                f" port {UDP_PORT} by LVS"
            )
        time.sleep(1)
    raise CheckFailedError(f"port {port} still answers {RELOAD_TIMEOUT:g} s after the reload")


def keep_plain_only(trial: Trial) -> None:
    """Leave the load balancer its plain listener.

    After a reboot the certificates are gone, and a load balancer with a TLS listener stays down
    until Octavia uploads them again: by Octavia's design, not a fault of an image.
    """
    if not trial.plain_only:
        configure(trial, "plain")
        change(trial, trial.balancer.id, "reload")
        trial.plain_only = True
