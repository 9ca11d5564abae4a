"""Traffic through HAProxy."""

from __future__ import annotations

import re
import secrets
import ssl
import time
from contextlib import suppress

from retrofit.verify.boot import load_balancer as lb
from retrofit.verify.boot.certificates import authority, issued
from retrofit.verify.boot.members import Server, web_server
from retrofit.verify.boot.network import MEMBER, VIP
from retrofit.verify.boot.traffic import HOST, Response, fetch
from retrofit.verify.boot.trial import Trial
from retrofit.verify.checks import CheckFailedError

TRAFFIC_TIMEOUT = 60.0
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""RFC 9113: the client's words, and an empty SETTINGS frame."""
SETTINGS_FRAME = 4
ATTEMPTS = 8
"""Requests in which a member of two is asked, whatever else HAProxy is asked meanwhile."""


def members(trial: Trial) -> dict[str, Server]:
    """Return the web servers behind the load balancer, started at the first call."""
    if not trial.members:
        near = not trial.full or trial.amphora.scenario.name == "pair"
        for address in (VIP.ours,) if near else (MEMBER.ours, MEMBER.ours6):
            body = secrets.token_hex(16).encode()
            trial.members[address] = trial.session.enter_context(
                web_server(trial.amphora.namespace, address, lb.MEMBER_PORT, body=body)
            )
    return trial.members


def through_haproxy(
    trial: Trial,
    port: int,
    context: ssl.SSLContext | None = None,
    *,
    address: str | None = None,
    attempts: int = 1,
    member: str | None = None,
) -> tuple[Response, str]:
    """Send a request and return the response with the address from which the member was asked.

    `member`: ask as often as `attempts`, until this one answers.
    Raises CheckFailedError unless a member answered, and was asked by the amphora.
    """
    servers = members(trial)
    for server in servers.values():
        server.asked.clear()
    for _ in range(attempts):
        response = fetch(
            trial.amphora.namespace, port, "/", context, address=address or trial.balancer.address
        )
        at = next((each for each, server in servers.items() if server.body == response.body), None)
        if at is None or response.status != 200:
            raise CheckFailedError(f"HAProxy answers {response.status}: {response.body[:200]!r}")
        if member in (None, at):
            break
    else:
        raise CheckFailedError(f"in {attempts} requests, the member {member} was never asked")
    server = servers[at]
    peers = [asked.peer for asked in server.asked]
    if not peers or peers[-1] == at:
        raise CheckFailedError(f"the member was asked by {peers}, not by HAProxy")
    return response, peers[-1]


def serves_http(trial: Trial) -> str:
    """Send a request through HAProxy to a member outside."""
    _, peer = through_haproxy(trial, lb.HTTP_PORT)
    return f"the member was asked by {peer}"


def serves_https(trial: Trial) -> str:
    """Send a request through the TLS listener to a member outside."""
    _, peer = through_haproxy(trial, lb.TLS_PORT, client_context(trial))
    return f"the member was asked by {peer}"


def client_context(trial: Trial) -> ssl.SSLContext:
    """Return a client's TLS, which trusts the load balancer's CA alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=trial.certificate_ca.certificate_pem.decode())
    return context


def serves_metrics(trial: Trial) -> str:
    """Read the metrics of the load balancer from its Prometheus listener."""
    end = time.monotonic() + TRAFFIC_TIMEOUT
    while True:
        response = fetch(
            trial.amphora.namespace, lb.METRICS_PORT, "/metrics", address=trial.balancer.address
        )
        names = set(re.findall(rb"^(octavia_\w+)", response.body, re.MULTILINE))
        if response.status == 200 and names:
            return f"{len(names)} metrics"
        if time.monotonic() > end:
            raise CheckFailedError(f"{response.status}: {response.body[:200]!r}")
        time.sleep(2)


def serves_ipv6_vip(trial: Trial) -> str:
    """Send a request to the IPv6 VIP."""
    return _by_vip(trial, next(vip.address for vip in trial.balancer.vips if ":" in vip.address))


def serves_additional_vip(trial: Trial) -> str:
    """Send a request to an additional VIP, of another subnet."""
    return _by_vip(trial, trial.balancer.vips[1].address)


def _by_vip(trial: Trial, address: str) -> str:
    _, peer = through_haproxy(trial, lb.HTTP_PORT, address=address)
    return f"at {address}; the member was asked by {peer}"


def uses_member_network(trial: Trial) -> str:
    """Make sure that an IPv4 member is asked from the member network's card."""
    return _by_member(trial, MEMBER.ours, MEMBER.theirs)


def uses_ipv6_member(trial: Trial) -> str:
    """Make sure that an IPv6 member is asked from the member network's card."""
    return _by_member(trial, MEMBER.ours6, MEMBER.theirs6)


def _by_member(trial: Trial, member: str, amphora: str) -> str:
    _, peer = through_haproxy(trial, lb.HTTP_PORT, attempts=ATTEMPTS, member=member)
    if peer != amphora:
        raise CheckFailedError(f"{member} was asked by {peer}, expected {amphora}")
    return f"{member} was asked by {peer}"


def follows_policies(trial: Trial) -> str:
    """Send requests that L7 policies redirect and reject."""
    namespace, vip = trial.amphora.namespace, trial.balancer.address
    redirected = fetch(namespace, lb.HTTP_PORT, lb.REDIRECTED, address=vip)
    location = redirected.headers.get("location")
    if (redirected.status, location) != (302, lb.REDIRECTED_TO):
        raise CheckFailedError(f"{lb.REDIRECTED}: {redirected.status}, location {location}")
    rejected = fetch(namespace, lb.HTTP_PORT, address=vip, host=lb.REJECTED_HOST)
    if rejected.status != 403:
        raise CheckFailedError(f"host {lb.REJECTED_HOST}: {rejected.status}, expected 403")
    return f"302 to {location}, 403"


def terminates_tls(trial: Trial) -> str:
    """Send requests by TLS 1.2 and 1.3 to every VIP, and make sure that 1.1 is refused."""
    seen = []
    for vip in trial.balancer.vips:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context(trial)
            context.minimum_version = context.maximum_version = version
            response, _ = through_haproxy(trial, lb.TLS_PORT, context, address=vip.address)
            seen.append(f"{response.tls_version} at {vip.address}")
    context = client_context(trial)
    # Without this our own OpenSSL would refuse, which proves nothing.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with suppress(ssl.SSLError, ConnectionError):
        fetch(trial.amphora.namespace, lb.TLS_PORT, "/", context, address=trial.balancer.address)
        raise CheckFailedError("TLS 1.1 is accepted")
    return ", ".join(seen)


def negotiates_h2(trial: Trial) -> str:
    """Negotiate HTTP/2 by ALPN, and wait for HAProxy's SETTINGS."""
    context = client_context(trial)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        trial.amphora.namespace.connect(
            (trial.balancer.address, lb.TLS_PORT), TRAFFIC_TIMEOUT
        ) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as channel,
    ):
        chosen = channel.selected_alpn_protocol()
        if chosen != "h2":
            raise CheckFailedError(f"{chosen} was negotiated")
        channel.sendall(H2_PREFACE)
        frame = channel.recv(9)
    if len(frame) < 4 or frame[3] != SETTINGS_FRAME:
        raise CheckFailedError(f"HAProxy answers {frame!r}")
    return "h2, SETTINGS received"


def authenticates_clients(trial: Trial) -> str:
    """Ask with a certificate of the clients' CA, with another, and without one."""
    known = issued(trial.client_ca, "client")
    through_haproxy(trial, lb.CLIENT_AUTH_PORT, _with_certificate(trial, known.pem))
    for who, pem in (
        ("without a certificate", None),
        ("with another CA's certificate", issued(authority("unrelated CA"), "client").pem),
    ):
        with suppress(ssl.SSLError, ConnectionError):
            response = fetch(
                trial.amphora.namespace,
                lb.CLIENT_AUTH_PORT,
                "/",
                _with_certificate(trial, pem),
                address=trial.balancer.address,
            )
            raise CheckFailedError(f"a client {who} was answered: {response.status}")
    return "a client of the CA is served, others are refused"


def _with_certificate(trial: Trial, pem: bytes | None) -> ssl.SSLContext:
    context = client_context(trial)
    if pem is not None:
        _load(context, trial, pem)
    return context


def _load(context: ssl.SSLContext, trial: Trial, pem: bytes) -> None:
    """Give a context a certificate with its key: OpenSSL reads them from files only."""
    path = trial.work_dir / f"{secrets.token_hex(8)}.pem"
    path.touch(mode=0o600)
    path.write_bytes(pem)
    try:
        context.load_cert_chain(path)
    finally:
        path.unlink()


def encrypts_to_members(trial: Trial) -> str:
    """Serve a member over TLS, with a certificate of the pool's CA and with another."""
    statuses = []
    for ca in (trial.member_ca, authority("unrelated CA")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _load(context, trial, issued(ca, HOST, dns_name=HOST).pem)
        body = secrets.token_hex(16).encode()
        with web_server(
            trial.amphora.namespace, MEMBER.ours, lb.TLS_MEMBER_PORT, body=body, tls=context
        ) as member:
            response = fetch(
                trial.amphora.namespace, lb.ENCRYPTED_PORT, address=trial.balancer.address
            )
        statuses.append(response.status)
        if ca is trial.member_ca and (response.body != body or not member.asked):
            raise CheckFailedError(f"HAProxy answers {response.status}: {response.body[:200]!r}")
        if ca is not trial.member_ca and response.status != 503:
            raise CheckFailedError(f"a member of another CA was asked: {response.status}")
    return f"{statuses[0]} from the pool's CA, {statuses[1]} from another"


def sends_proxy_header(trial: Trial) -> str:
    """Read the client's address from the PROXY header before a request."""
    body = secrets.token_hex(16).encode()
    with web_server(
        trial.amphora.namespace, MEMBER.ours, lb.PROXY_MEMBER_PORT, body=body, proxied=True
    ) as member:
        response = fetch(trial.amphora.namespace, lb.PROXY_PORT, address=trial.balancer.address)
    vip = trial.balancer.vips[0]
    header = member.asked[-1].proxied if member.asked else ""
    if response.body != body or header.split()[2:4] != [vip.gateway, vip.address]:
        raise CheckFailedError(f"{response.status}, the member read {header!r}")
    return header
