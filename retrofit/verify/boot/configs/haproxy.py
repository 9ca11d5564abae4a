"""HAProxy's configuration of a load balancer.

`octavia/common/jinja/haproxy/combined_listeners/templates/`, as of Octavia 19.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

from retrofit.verify.boot.configs.model import (
    CLIENT_TIMEOUT,
    CONNECT_TIMEOUT,
    CONNECTION_LIMIT,
    MEMBER_TIMEOUT,
    Listener,
    LoadBalancer,
    Member,
    Policy,
    Pool,
    certificate_path,
)

PEER_PORT = 1025
INSECURE_FORK = (2, 2)
"""HAProxy's version from which on monitors of type PING need a permission to fork."""
CIPHERS = (
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
    ":ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305"
    ":ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305"
)
SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
TLS = f" ciphers {CIPHERS} ciphersuites {SUITES} no-sslv3 no-tlsv10 no-tlsv11"
"""Octavia's defaults (`octavia/common/constants.py`), in the order in which it sorts them."""
LOG_FORMAT = r"%f %ci %cp %t %{+Q}r %ST %B %U %[ssl_c_verify] %{+Q}[ssl_c_s_dn] %b %s %Tt %tsc"


def haproxy_config(balancer: LoadBalancer, *, haproxy: tuple[int, ...]) -> str:
    """Write the configuration of the listeners that HAProxy serves, for a version of it."""
    listeners = [each for each in balancer.listeners if each.by_haproxy]
    lines = [
        *_global(balancer, listeners, haproxy),
        *_peers(balancer),
        *(_exporter() if any(each.protocol == "PROMETHEUS" for each in listeners) else ()),
    ]
    for listener in listeners:
        lines += _frontend(balancer, listener)
        if listener.pool is not None:
            lines += _backend(listener, listener.pool)
    return "\n".join(lines) + "\n"


def _global(
    balancer: LoadBalancer, listeners: list[Listener], haproxy: tuple[int, ...]
) -> Iterator[str]:
    yield f"# Configuration for loadbalancer {balancer.id}"
    yield "global"
    yield "    daemon"
    yield "    user nobody"
    yield "    log /run/rsyslog/octavia/log local0"
    yield "    log /run/rsyslog/octavia/log local1 notice"
    yield f"    stats socket /var/lib/octavia/{balancer.id}.sock mode 0666 level user"
    yield f"    server-state-file /var/lib/octavia/{balancer.id}/servers-state"
    yield f"    maxconn {CONNECTION_LIMIT * len(listeners)}"
    monitors = [each.pool.monitor for each in listeners if each.pool is not None]
    if any(monitor is not None and monitor.type == "PING" for monitor in monitors):
        yield "    external-check"
        if haproxy >= INSECURE_FORK:
            yield "    insecure-fork-wanted"
    yield "defaults"
    yield "    log global"
    yield "    retries 3"
    yield "    option redispatch"
    yield "    option splice-request"
    yield "    option splice-response"
    yield "    option http-keep-alive"


def _peers(balancer: LoadBalancer) -> Iterator[str]:
    if balancer.topology == "ACTIVE_STANDBY":
        yield f"peers {balancer.id.replace('-', '')}_peers"
        for each in balancer.amphorae:
            yield f"    peer {peer_name(each.id)} {each.vrrp_ip}:{PEER_PORT}"


def _exporter() -> Iterator[str]:
    yield "frontend prometheus-exporter-internal-endpoint"
    yield "    bind 127.0.0.1:9101"
    yield "    mode http"
    yield "    no log"
    yield "    http-request use-service prometheus-exporter if { path /metrics }"
    yield "    http-request reject"
    yield "    timeout http-request 5s"
    yield "    timeout client 5s"
    yield "backend prometheus-exporter-internal"
    yield "    mode http"
    yield "    no log"
    yield "    balance first"
    yield "    timeout connect 5s"
    yield "    timeout server 5s"
    yield "    server prometheus-internal 127.0.0.1:9102"


def _frontend(balancer: LoadBalancer, listener: Listener) -> Iterator[str]:
    yield f"frontend {listener.id}"
    yield f"    maxconn {CONNECTION_LIMIT}"
    if listener.protocol == "TERMINATED_HTTPS":
        yield "    redirect scheme https if !{ ssl_fc }"
    for vip in balancer.vips:
        yield f"    bind {vip}:{listener.port}{_tls(balancer, listener)}"
    yield f"    mode {_mode(listener)}"
    for policy in listener.policies:
        yield from _policy(policy)
    if listener.pool is not None:
        yield f"    default_backend {listener.backend}"
    yield f"    timeout client {CLIENT_TIMEOUT}"
    if listener.protocol == "PROMETHEUS":
        yield "    default_backend prometheus-exporter-internal"
    words = f"{balancer.project_id} {balancer.id} {LOG_FORMAT}"
    if listener.protocol in ("TCP", "PROMETHEUS"):
        words = words.replace("%{+Q}r", "-").replace("%ST", "-")
    yield "    log-format " + words.replace(" ", "\\ ")


def _mode(listener: Listener) -> str:
    return "tcp" if listener.protocol == "TCP" else "http"


def _tls(balancer: LoadBalancer, listener: Listener) -> str:
    if listener.protocol != "TERMINATED_HTTPS":
        return ""
    words = f" ssl crt-list {certificate_path(balancer.id, f'{listener.id}.pem')}"
    if listener.client_ca_file is not None:
        path = certificate_path(balancer.id, listener.client_ca_file)
        words += f" ca-file {path} verify required"
    words += TLS
    if listener.alpn:
        words += f" alpn {','.join(listener.alpn)}"
    return words


def _policy(policy: Policy) -> Iterator[str]:
    if policy.rule == "PATH":
        yield f"    acl {policy.rule_id} path -m beg {policy.value}"
    else:
        yield f"    acl {policy.rule_id} req.hdr(host) -i -m str {policy.value}"
    if policy.redirect_url is None:
        yield f"    http-request deny if {policy.rule_id}"
    else:
        yield f"    redirect code 302 location {policy.redirect_url} if {policy.rule_id}"


def _backend(listener: Listener, pool: Pool) -> Iterator[str]:
    yield f"backend {listener.backend}"
    yield f"    mode {_mode(listener)}"
    if pool.protocol == "HTTP" or (pool.protocol == "PROXY" and _mode(listener) == "http"):
        yield "    http-reuse safe"
    yield "    balance roundrobin"
    if pool.monitor is not None:
        yield "    load-server-state-from-file global"
        yield f"    timeout check {pool.monitor.timeout}s"
        if pool.monitor.type == "HTTP":
            yield f"    option httpchk GET {pool.monitor.url_path}"
            yield "    http-check expect rstatus 200"
        if pool.monitor.type == "PING":
            yield "    option external-check"
            yield "    external-check command /var/lib/octavia/ping-wrapper.sh"
    if pool.protocol == "HTTP":
        yield "    option forwardfor"
    yield f"    fullconn {CONNECTION_LIMIT}"
    yield "    option allbackups"
    yield f"    timeout connect {CONNECT_TIMEOUT}"
    yield f"    timeout server {MEMBER_TIMEOUT}"
    for member in pool.members:
        yield _server(pool, member)


def _server(pool: Pool, member: Member) -> str:
    words = f"    server {member.id} {member.address}:{member.port} weight 1"
    if pool.monitor is not None:
        each = pool.monitor
        words += f" check inter {each.delay}s fall {each.fall} rise {each.rise}"
    if pool.protocol == "PROXY":
        words += " send-proxy"
    if pool.ca_file is not None:
        words += f" ssl ca-file {pool.ca_file} sni ssl_fc_sni{TLS}"
    return words


def peer_name(amphora_id: str) -> str:
    """Return the peer name that the agent passes to `haproxy -L`.

    `octavia/common/utils.py:base64_sha1_string`: HAProxy takes no leading dash.
    """
    digest = hashlib.sha1(amphora_id.encode(), usedforsecurity=False).digest()
    return re.sub("^-", "x", base64.b64encode(digest, b"_-").decode()).rstrip("=")
