"""The forms in which releases of Octavia write one and the same thing, and who refuses them.

Found by rendering with the packages of each release, 2023.1 to 2026.2, and asking HAProxy 2.6, 3.0
and 3.2 (`tests/component/control_plane`). Templates of Octavia:
`octavia/common/jinja/haproxy/combined_listeners/templates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retrofit.control_plane.releases import Version
from retrofit.model import version_key


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form that Octavia gave up, in 2023.1 or later.

    `gone` maps a major version to the first of its versions that writes the new form; every major
    before the first key writes the old one, every one after the last key does not. `taken_until`
    and `refused_from` are versions of HAProxy as far as they were asked, None for those that no
    HAProxy refuses. `words` are HAProxy's own.
    """

    name: str
    text: str
    gone: Mapping[int, Version]
    source: str
    taken_until: Version | None = None
    refused_from: Version | None = None
    words: str = ""

    def written_by(self, octavia: Version) -> bool:
        """Return True if this version of Octavia writes the old form."""
        first = self.gone.get(octavia[0])
        if first is not None:
            return octavia < first
        return octavia[0] < min(self.gone)

    def refused_by(self, haproxy: str) -> bool:
        """Return True if HAProxy of that version is known to refuse the old form."""
        return self.refused_from is not None and version_key(haproxy)[:2] >= self.refused_from


HTTPCHK_HEADERS = Form(
    name="httpchk-headers",
    text=r"option httpchk GET /path HTTP/1.0\r\n",
    gone={17: (17, 0, 0)},
    source="octavia 17.0.0 (2025.2): http-check send in macros.j2; HAProxy 2.8.5, 3.0.11, 3.2.26",
    taken_until=(2, 6),
    refused_from=(2, 8),
    words="hiding headers or body at the end of the version string is unsupported",
)
USE_HTX = Form(
    name="use-htx",
    text="option http-use-htx",
    gone={16: (16, 1, 0), 17: (17, 0, 0)},
    source="octavia 16.1.0 and 17.0.0: haproxy.cfg.j2; HAProxy 2.6.12, 3.0.11, 3.2.26",
    refused_from=(2, 6),
    words="unknown option 'http-use-htx'",
)
STICK_TYPE_IP = Form(
    name="stick-type-ip",
    text="stick-table type ip",
    gone={12: (12, 0, 1), 13: (13, 0, 0)},
    source="octavia 12.0.1 and 13.0.0: macros.j2",
)
SSL_HELLO = Form(
    name="ssl-hello",
    text="option ssl-hello-chk",
    gone={12: (12, 0, 1), 13: (13, 0, 1), 14: (14, 0, 0)},
    source="octavia 12.0.1, 13.0.1 and 14.0.0: macros.j2",
)
FILE_TYPE_STRING = Form(
    name="file-type-string",
    text="path_end -m str",
    gone={15: (15, 1, 0), 16: (16, 0, 1), 17: (17, 0, 0)},
    source="octavia 15.1.0, 16.0.1 and 17.0.0: macros.j2",
)
VRRP_STATE = Form(
    name="vrrp-state",
    text="state MASTER",
    gone={13: (13, 0, 1), 14: (14, 0, 1), 15: (15, 0, 0)},
    source="octavia 13.0.1, 14.0.1 and 15.0.0: keepalived_base.template",
)
ONE_LIST_OF_CIPHERS = Form(
    name="one-list-of-ciphers",
    text="ciphers with those of TLS 1.3 among them",
    gone={19: (19, 0, 0)},
    source="octavia 19.0.0: ciphersuites in macros.j2",
)
FORMS = (
    HTTPCHK_HEADERS,
    USE_HTX,
    STICK_TYPE_IP,
    SSL_HELLO,
    FILE_TYPE_STRING,
    VRRP_STATE,
    ONE_LIST_OF_CIPHERS,
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of load balancer: who reads its configuration, and the forms that it depends on.

    `seen_by` is how the API shows that a load balancer is of this kind.
    """

    name: str
    program: str = "haproxy"
    forms: tuple[Form, ...] = ()
    seen_by: str = ""

    def refusal(self, octavia: Version, haproxy: str) -> Form | None:
        """Return the form for which HAProxy is known to refuse this kind; None where it is not."""
        if self.program != "haproxy":
            return None
        return next(
            (form for form in self.forms if form.written_by(octavia) and form.refused_by(haproxy)),
            None,
        )


KINDS = (
    Kind(name="http", seen_by="a listener HTTP"),
    Kind(
        name="http-monitor",
        forms=(HTTPCHK_HEADERS,),
        seen_by="a health monitor HTTP or HTTPS with http_version",
    ),
    Kind(
        name="http-monitor-with-host",
        forms=(HTTPCHK_HEADERS,),
        seen_by="a health monitor HTTP or HTTPS with http_version 1.1 and domain_name",
    ),
    Kind(
        name="http-monitor-without-version",
        seen_by="a health monitor HTTP or HTTPS without http_version",
    ),
    Kind(name="ping-monitor", seen_by="a health monitor PING"),
    Kind(name="tcp-monitor", seen_by="a health monitor TCP"),
    Kind(name="tls-hello-monitor", forms=(SSL_HELLO,), seen_by="a health monitor TLS-HELLO"),
    Kind(name="l7-policy", seen_by="an l7policy"),
    Kind(name="l7-file-type", forms=(FILE_TYPE_STRING,), seen_by="an l7policy"),
    Kind(
        name="source-ip-persistence",
        forms=(STICK_TYPE_IP,),
        seen_by="session_persistence SOURCE_IP",
    ),
    Kind(name="app-cookie-persistence", seen_by="session_persistence APP_COOKIE"),
    Kind(name="proxy-protocol", seen_by="a pool PROXY or PROXYV2"),
    Kind(name="tls", forms=(ONE_LIST_OF_CIPHERS,), seen_by="a listener TERMINATED_HTTPS"),
    Kind(
        name="tls-l7-policy",
        forms=(ONE_LIST_OF_CIPHERS,),
        seen_by="an l7policy of a listener TERMINATED_HTTPS",
    ),
    Kind(
        name="client-authentication",
        forms=(ONE_LIST_OF_CIPHERS,),
        seen_by="a listener with client_authentication",
    ),
    Kind(name="re-encryption", forms=(ONE_LIST_OF_CIPHERS,), seen_by="a pool with tls_enabled"),
    Kind(name="prometheus", forms=(USE_HTX,), seen_by="a listener PROMETHEUS"),
    Kind(name="additional-vips", seen_by="additional_vips"),
    Kind(
        name="active-standby",
        forms=(STICK_TYPE_IP,),
        seen_by="amphorae with the roles MASTER and BACKUP",
    ),
    Kind(name="udp", program="keepalived", seen_by="a listener UDP"),
    Kind(name="udp-http-monitor", program="keepalived", seen_by="a listener UDP"),
    Kind(name="udp-tcp-monitor", program="keepalived", seen_by="a listener UDP"),
    Kind(name="sctp", program="keepalived", seen_by="a listener SCTP"),
    Kind(
        name="vrrp",
        program="keepalived",
        forms=(VRRP_STATE,),
        seen_by="amphorae with the roles MASTER and BACKUP",
    ),
    Kind(
        name="vrrp-ipv6",
        program="keepalived",
        forms=(VRRP_STATE,),
        seen_by="amphorae with the roles MASTER and BACKUP",
    ),
)
"""Every kind that the booted image is asked for."""
KIND: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True, kw_only=True)
class SeriesSoftware:
    """HAProxy and Python of an Ubuntu series, before anything is built from it."""

    haproxy: str
    python: str


SERIES: Mapping[str, SeriesSoftware] = {
    "focal": SeriesSoftware(haproxy="2.0", python="3.8"),
    "jammy": SeriesSoftware(haproxy="2.4", python="3.10"),
    "noble": SeriesSoftware(haproxy="2.8", python="3.12"),
    "resolute": SeriesSoftware(haproxy="3.2", python="3.14"),
}
"""Package pages of the archive."""
