"""A load balancer for the trial: its HAProxy configuration, and the member behind it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import http.server
import re
import ssl
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from retrofit.deadline import deadline
from retrofit.threads import begun
from retrofit.verify.boot.network import VIP, VIP_ADDRESS, Namespace

LARGEST_ANSWER = 1024 * 1024
"""Bytes that are read of an answer; whoever sends more is not what is looked for."""

HTTP_PORT, TLS_PORT, METRICS_PORT, MEMBER_PORT = 80, 443, 8088, 9001
FETCH_TIMEOUT = 60.0
IN_ALL = 2
"""How many times its timeout a request may take in all: a socket's begins anew with each byte."""
HOST = "www.example.org"
CERTIFICATE_DIRECTORY = "/var/lib/octavia/certs"


@dataclass(frozen=True, kw_only=True)
class LoadBalancer:
    """One load balancer on one amphora."""

    id: str
    amphora_id: str
    certificate_name: str
    """File name under which its certificate is uploaded."""

    @property
    def listeners(self) -> Mapping[str, str]:
        """Return the ids of its listeners, by what they do; the agent calls frontends so."""
        return {
            kind: str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.id} {kind}"))
            for kind in ("plain", "terminated", "metrics")
        }

    def haproxy_config(self) -> str:
        """Write the configuration as Octavia's template does for three listeners.

        `octavia/common/jinja/haproxy/combined_listeners/templates/`: plain HTTP, TLS terminated
        with an uploaded certificate, and Prometheus metrics.
        """
        listeners = self.listeners
        # The health daemon takes a backend's name apart: `<pool>:<listener>`.
        pool = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.id} pool"))
        backends = {kind: f"{pool}:{listeners[kind]}" for kind in ("plain", "terminated")}
        peer = peer_name(self.amphora_id)
        certificate = f"{CERTIFICATE_DIRECTORY}/{self.id}/{self.certificate_name}"
        return f"""\
# Configuration for loadbalancer {self.id}
global
    daemon
    user nobody
    log /run/rsyslog/octavia/log local0
    log /run/rsyslog/octavia/log local1 notice
    stats socket /var/lib/octavia/{self.id}.sock mode 0666 level user
    maxconn 5000

defaults
    no log
    retries 3
    option redispatch
    option splice-request
    option splice-response
    option http-keep-alive

peers {self.id.replace("-", "")}_peers
    peer {peer} {VIP.theirs}:1025

frontend prometheus-exporter-internal-endpoint
    bind 127.0.0.1:9101
    mode http
    timeout client 10s
    http-request use-service prometheus-exporter if {{ path /metrics }}
    http-request reject
    timeout http-request 5s

backend prometheus-exporter-internal
    mode http
    balance first
    timeout connect 5s
    timeout server 30s
    server prometheus-internal 127.0.0.1:9102

frontend {listeners["metrics"]}
    bind {VIP_ADDRESS}:{METRICS_PORT}
    mode http
    timeout client 50000
    default_backend prometheus-exporter-internal

frontend {listeners["plain"]}
    maxconn 1000
    bind {VIP_ADDRESS}:{HTTP_PORT}
    mode http
    default_backend {backends["plain"]}
    timeout client 50000

frontend {listeners["terminated"]}
    maxconn 1000
    bind {VIP_ADDRESS}:{TLS_PORT} ssl crt {certificate}
    mode http
    default_backend {backends["terminated"]}
    timeout client 50000
{"".join(_backend(name) for name in backends.values())}"""


def _backend(name: str) -> str:
    return f"""
backend {name}
    mode http
    balance roundrobin
    http-reuse safe
    option forwardfor
    fullconn 1000
    timeout connect 5000
    timeout server 50000
    server member {VIP.ours}:{MEMBER_PORT} weight 1
"""


def fetch(
    namespace: Namespace, port: int, path: str, context: ssl.SSLContext | None = None
) -> tuple[int, bytes]:
    """Ask the VIP as a client of the load balancer does; OSError when there is no answer."""
    connection = http.client.HTTPConnection(VIP_ADDRESS, port)
    with (
        deadline(IN_ALL * FETCH_TIMEOUT),
        namespace.connect((VIP_ADDRESS, port), FETCH_TIMEOUT) as raw,
    ):
        connection.sock = raw if context is None else context.wrap_socket(raw, server_hostname=HOST)
        try:
            connection.request("GET", path, headers={"Host": HOST})
            response = connection.getresponse()
            return response.status, response.read(LARGEST_ANSWER)
        except http.client.HTTPException as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()


def peer_name(amphora_id: str) -> str:
    """Return the peer name that the agent passes to `haproxy -L`.

    `octavia/common/utils.py:base64_sha1_string`: HAProxy takes no leading dash.
    """
    digest = hashlib.sha1(amphora_id.encode(), usedforsecurity=False).digest()
    return re.sub("^-", "x", base64.b64encode(digest, b"_-").decode()).rstrip("=")


@dataclass(kw_only=True)
class Member:
    """The web server behind the load balancer, and who has asked it."""

    body: bytes
    peers: list[str] = field(default_factory=list)


@contextmanager
def member(namespace: Namespace, body: bytes) -> Iterator[Member]:
    """Serve `body` on our end of the VIP's network for the length of the block."""
    state = Member(body=body)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.peers.append(self.client_address[0])
            self.send_response(200)
            self.send_header("Content-Length", str(len(state.body)))
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_: object) -> None:
            """Keep requests out of the terminal."""

    listener = namespace.listen((VIP.ours, MEMBER_PORT))
    server = http.server.ThreadingHTTPServer((VIP.ours, 0), Handler, bind_and_activate=False)
    server.daemon_threads = True
    server.socket.close()
    server.socket = listener
    thread = threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True)
    begun(thread.start)
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
