"""Small configurations of ours, in the forms that a version of Octavia writes, one for each kind.

They are for `haproxy -c` and `keepalived -t` alone: addresses are for documentation, files are in
DIRECTORY. What the templates of all releases write alike is left out, unless a kind is about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from retrofit.control_plane.language import (
    FILE_TYPE_STRING,
    HTTPCHK_HEADERS,
    KINDS,
    ONE_LIST_OF_CIPHERS,
    SSL_HELLO,
    STICK_TYPE_IP,
    USE_HTX,
    VRRP_STATE,
    Form,
    Kind,
)
from retrofit.control_plane.releases import ControlPlane, Release, Version

DIRECTORY = "/run/retrofit-language"
CERTIFICATE = f"{DIRECTORY}/server.pem"
"""Certificate and key of HAProxy, and the CA of its clients."""
PEER = "octavia-peer"
"""Name of the local peer, for `haproxy -L`."""
INTERFACE = "retrofit0"
"""Must be there: `keepalived -t` refuses a configuration for an interface that is not."""
EXPECT = "    http-check expect rstatus 418"
TCP = frozenset({"tcp-monitor", "tls-hello-monitor"})
"""Kinds that HAProxy passes on without looking inside."""
Old = Callable[[Form], bool]
"""Returns True if the old form is to be written."""
SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"


@dataclass(frozen=True, kw_only=True)
class Question:
    """One kind as one release writes it; `texts` are its forms between the release's versions."""

    kind: Kind
    release: Release
    texts: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the name of the check: `haproxy-takes-2025.1-http-monitor`."""
        return f"{self.kind.program}-takes-{self.release.name}-{self.kind.name}"

    def text_of(self, octavia: Version) -> str:
        """Return the form of one version of the release."""
        return configuration(self.kind, octavia)


def questions(plane: ControlPlane) -> tuple[Question, ...]:
    """Return what to ask an image for a control plane: every kind of each of its releases."""
    return tuple(
        Question(
            kind=kind,
            release=release,
            texts=tuple(
                dict.fromkeys(configuration(kind, each) for each in plane.versions(release))
            ),
        )
        for release in plane.releases
        for kind in KINDS
    )


def texts_of(asked: Iterable[Question]) -> dict[str, str]:
    """Return every text to ask for, once, with the program that reads it."""
    return {text: question.kind.program for question in asked for text in question.texts}


def configuration(kind: Kind, octavia: Version) -> str:
    """Write the configuration of one kind as a version of Octavia does."""

    def old(form: Form) -> bool:
        return form.written_by(octavia)

    name = kind.name
    if kind.program == "keepalived":
        return _vrrp(name, old) if name.startswith("vrrp") else _lvs(name)
    return _haproxy(name, old)


def _haproxy(name: str, old: Old) -> str:
    parts = [_global(name)]
    if name == "active-standby":
        parts.append(f"peers lb_peers\n    peer {PEER} 192.0.2.11:1025\n")
    if name == "prometheus":
        parts.append(_exporter(old))
    parts += [_frontend(name, old), _backend(name, old)]
    return "\n".join(parts)


def _global(name: str) -> str:
    lines = [
        "global",
        "    daemon",
        "    user nobody",
        "    log /run/rsyslog/octavia/log local0",
        "    stats socket /run/retrofit-language/lb.sock mode 0666 level user",
        "    maxconn 5000",
    ]
    if name == "ping-monitor":
        lines += ["    external-check", "    insecure-fork-wanted"]
    lines += [
        "",
        "defaults",
        "    log global",
        "    retries 3",
        "    option redispatch",
        "    option splice-request",
        "    option splice-response",
        "    option http-keep-alive",
    ]
    return "\n".join(lines) + "\n"


def _exporter(old: Old) -> str:
    lines = ["frontend exporter", "    bind 127.0.0.1:9101", "    mode http", "    no log"]
    if old(USE_HTX):
        lines.append("    option http-use-htx")
    lines += [
        "    http-request use-service prometheus-exporter if { path /metrics }",
        "    http-request reject",
        "    timeout http-request 5s",
        "    timeout client 5s",
    ]
    return "\n".join(lines) + "\n"


def _frontend(name: str, old: Old) -> str:
    tls = name in {"tls", "tls-l7-policy", "client-authentication", "re-encryption"}
    mode = "tcp" if name in TCP else "http"
    bind = "    bind 192.0.2.2:80"
    if tls:
        bind = f"    bind 192.0.2.2:443 ssl crt {CERTIFICATE}"
        if name == "client-authentication":
            bind += f" ca-file {CERTIFICATE} verify required"
        if old(ONE_LIST_OF_CIPHERS):
            bind += f" ciphers {SUITES}:{CIPHERS}"
        else:
            bind += f" ciphers {CIPHERS} ciphersuites {SUITES}"
        bind += " no-sslv3 no-tlsv10 no-tlsv11 alpn h2,http/1.1,http/1.0"
    lines = ["frontend listener", "    maxconn 5000"]
    if tls:
        lines.append("    redirect scheme https if !{ ssl_fc }")
    lines.append(bind)
    if name == "additional-vips":
        lines += ["    bind 192.0.2.3:80", "    bind 2001:db8::2:80"]
    lines.append(f"    mode {mode}")
    lines += _policies(name, old)
    lines += ["    default_backend pool:listener", "    timeout client 50000"]
    request = "-" if mode == "tcp" else r"%{+Q}r"
    lines.append(
        rf"    log-format project\ lb\ %f\ %ci\ %cp\ %t\ {request}\ %B\ %U\ %[ssl_c_verify]"
        r"\ %{+Q}[ssl_c_s_dn]\ %b\ %s\ %Tt\ %tsc"
    )
    return "\n".join(lines) + "\n"


def _policies(name: str, old: Old) -> list[str]:
    if name == "l7-policy":
        return [
            "    acl rule1 path -m beg /api",
            "    use_backend pool:listener if rule1",
            r"    acl rule2 req.hdr(Some-header) -m sub This\ string",
            "    acl rule3 req.cook(some-cookie) -m reg this.*|that",
            "    acl rule4 req.hdr(host) -i -m end .example.com",
            "    redirect code 302 location http://www.example.com if !rule2 rule3 rule4",
            "    redirect code 302 prefix https://example.com if !rule2 rule3",
        ]
    if name == "l7-file-type":
        match = "-m str jpg" if old(FILE_TYPE_STRING) else "jpg"
        return [f"    acl rule1 path_end {match}", "    http-request deny if rule1"]
    if name == "tls-l7-policy":
        return [
            "    acl rule1 ssl_c_used",
            "    acl rule2 ssl_c_verify eq 1",
            "    acl rule3 ssl_c_s_dn(STREET) -m reg ^STREET.*",
            "    http-request deny if rule1 !rule2 !rule3",
        ]
    return []


def _backend(name: str, old: Old) -> str:
    mode = "tcp" if name in TCP else "http"
    lines = ["backend pool:listener", f"    mode {mode}"]
    if mode == "http":
        lines.append("    http-reuse safe")
    lines.append("    balance roundrobin")
    lines += _persistence(name, old)
    if name.endswith(("-monitor", "-with-host", "-without-version")):
        lines.append("    timeout check 31s")
    lines += _monitor(name, old)
    lines += ["    option forwardfor"] if mode == "http" else []
    lines += [
        "    fullconn 5000",
        "    option allbackups",
        "    timeout connect 5000",
        "    timeout server 50000",
    ]
    server = "    server member 192.0.2.99:82 weight 13"
    if name.endswith(("-monitor", "-with-host", "-without-version")):
        server += " check inter 30s fall 3 rise 2"
    if name == "proxy-protocol":
        server += " send-proxy-v2"
    if name == "re-encryption":
        server += (
            f" ssl crt {CERTIFICATE} ca-file {CERTIFICATE} verify required sni ssl_fc_sni"
            " no-sslv3 no-tlsv10 no-tlsv11 alpn h2,http/1.1,http/1.0"
        )
    return "\n".join([*lines, server]) + "\n"


def _persistence(name: str, old: Old) -> list[str]:
    address = "ip" if old(STICK_TYPE_IP) else "ipv6"
    if name == "source-ip-persistence":
        return [f"    stick-table type {address} size 10k", "    stick on src"]
    if name == "active-standby":
        return [f"    stick-table type {address} size 10k peers lb_peers", "    stick on src"]
    if name == "app-cookie-persistence":
        return [
            "    stick-table type string len 64 size 10k",
            "    stick store-response res.cook(JSESSIONID)",
            "    stick match req.cook(JSESSIONID)",
        ]
    return []


def _monitor(name: str, old: Old) -> list[str]:
    headers = old(HTTPCHK_HEADERS)
    if name == "http-monitor":
        end = r"\r\n" if headers else ""
        return [f"    option httpchk GET /path HTTP/1.0{end}", EXPECT]
    if name == "http-monitor-with-host":
        if headers:
            return [r"    option httpchk GET /path HTTP/1.1\r\nHost:\ www.example.org", EXPECT]
        host = "    http-check send hdr Host www.example.org"
        return ["    option httpchk GET /path HTTP/1.1", host, EXPECT]
    if name == "http-monitor-without-version":
        return ["    option httpchk GET /path", EXPECT]
    if name == "tls-hello-monitor" and old(SSL_HELLO):
        return ["    option ssl-hello-chk"]
    if name == "ping-monitor":
        script = "/var/lib/octavia/ping-wrapper.sh"
        return ["    option external-check", f"    external-check command {script}"]
    return []


def _lvs(name: str) -> str:
    monitor = {
        "udp-http-monitor": "HTTP_GET {\n            url {\n              path /index.html\n"
        "              status_code 200\n            }\n            connect_ip 192.0.2.99\n"
        "            connect_port 82\n            connect_timeout 31\n        }",
        "udp-tcp-monitor": "TCP_CHECK {\n            connect_ip 192.0.2.99\n"
        "            connect_port 82\n            connect_timeout 31\n        }",
        "sctp": 'MISC_CHECK {\n            misc_path "/usr/bin/true sctp -t 31 192.0.2.99 82"\n'
        "            misc_timeout 32\n        }",
    }.get(
        name,
        'MISC_CHECK {\n            misc_path "/usr/bin/true 192.0.2.99 82"\n'
        "            misc_timeout 31\n        }",
    )
    return f"""\
virtual_server_group ipv4-group {{
    192.0.2.2 80
}}

virtual_server group ipv4-group {{
    lb_algo wrr
    lb_kind NAT
    protocol {"SCTP" if name == "sctp" else "UDP"}
    persistence_timeout 33
    persistence_granularity 255.255.0.0
    delay_loop 30
    delay_before_retry 30
    retry 3
    real_server 192.0.2.99 82 {{
        weight 13
        {monitor}
    }}
}}
"""


def _vrrp(name: str, old: Old) -> str:
    six = name == "vrrp-ipv6"
    ours, theirs, vip, gateway, net, length = (
        ("2001:db8::11", "2001:db8::12", "2001:db8::2", "2001:db8::1", "2001:db8::/64", 128)
        if six
        else ("192.0.2.11", "192.0.2.12", "192.0.2.2", "192.0.2.1", "192.0.2.0/24", 32)
    )
    state = "    state MASTER\n" if old(VRRP_STATE) else ""
    return f"""\
vrrp_script check_script {{
    script /usr/bin/true
    interval 5
    fall 2
    rise 2
}}

vrrp_instance lb {{
{state}    interface {INTERFACE}
    virtual_router_id 1
    priority 100
    nopreempt
    accept
    garp_master_refresh 5
    garp_master_refresh_repeat 2
    advert_int 1
    authentication {{
        auth_type PASS
        auth_pass 1234567
    }}

    unicast_src_ip {ours}
    unicast_peer {{
        {theirs}
    }}

    virtual_ipaddress {{
        {vip}
    }}

    virtual_routes {{
        {net} dev {INTERFACE} src {vip} scope link table 1
        default via {gateway} dev {INTERFACE} onlink table 1
    }}

    virtual_rules {{
        from {vip}/{length} table 1 priority 100
    }}

    track_script {{
        check_script
    }}
}}
"""
