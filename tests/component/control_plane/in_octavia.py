"""Renders configurations by the code of one Octavia, in a Python that has its dependencies.

    python in_octavia.py OUTPUT HAPROXY_VERSION

PYTHONPATH names the code: a few files of a wheel, or nothing for the one that is installed. Writes
`OUTPUT/KIND.cfg` for every kind that this Octavia knows;
prints their names, and where the code was, as JSON.
"""

from __future__ import annotations

import collections
import inspect
import json
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
# The samples of 2023.1 read a file by a module that setuptools gave up in its release 82.
sys.modules.setdefault(
    "pkg_resources",
    types.SimpleNamespace(  # type: ignore[arg-type]
        resource_string=lambda package, name: (
            Path(sys.modules[package].__file__ or "").parent / name
        ).read_bytes()
    ),
)

import octavia  # noqa: E402
from octavia.amphorae.drivers.keepalived.jinja import jinja_cfg as vrrp_jinja  # noqa: E402
from octavia.common.jinja.haproxy.combined_listeners import jinja_cfg  # noqa: E402
from octavia.common.jinja.lvs import jinja_cfg as lvs_jinja  # noqa: E402
from octavia.tests.unit.common.sample_configs import sample_configs_combined as sample  # noqa: E402
from octavia_lib.common import constants as lib  # noqa: E402

BASE = "/var/lib/octavia"
CERTIFICATES = f"{BASE}/certs"


def main(output: Path, haproxy: list[str]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for name, write in (*_haproxy(haproxy), *_keepalived()):
        try:
            text = write()
        except (AttributeError, KeyError, TypeError) as error:
            # An option of the samples that this release does not have yet.
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        (output / f"{name}.cfg").write_text(text)
        written.append(name)
    print(json.dumps({"octavia": octavia.__file__, "kinds": written}))


def _haproxy(version: list[str]) -> Iterator[tuple[str, Callable[[], str]]]:
    templater = jinja_cfg.JinjaTemplater(
        base_amp_path=BASE, base_crt_dir=CERTIFICATES, log_server="/run/rsyslog/octavia/log"
    )
    takes_details = "amp_details" in inspect.signature(templater.build_config).parameters
    certificates = {
        "cont_id_1": sample.sample_tls_container_tuple(
            id="tls_container_id", certificate="x", private_key="y", primary_cn="FakeCN"
        ),
        "cont_id_ca": "client_ca.pem",
        "cont_id_crl": "crl.pem",
    }

    def of(
        change: Callable[[Any], Any] = lambda each: each,
        **options: Any,
    ) -> Callable[[], str]:
        def write() -> str:
            tls = options.get("proto") == "TERMINATED_HTTPS"
            listener = change(sample.sample_listener_tuple(**({"monitor": False} | options)))
            extra = {"amp_details": None} if takes_details else {}
            return str(
                templater.build_config(
                    sample.sample_amphora_tuple(),
                    [listener],
                    tls_certs=certificates if tls else None,
                    haproxy_versions=version,
                    **extra,
                )
            )

        return write

    tls = {"proto": "TERMINATED_HTTPS", "tls": True}
    yield "http", of(proto="HTTP")
    yield "http-monitor", of(proto="HTTP", monitor=True)
    yield "http-monitor-with-host", of(proto="HTTP", monitor=True, hm_host_http_check=True)
    yield "http-monitor-without-version", of(_without_http_version, proto="HTTP", monitor=True)
    yield "ping-monitor", of(proto="HTTP", monitor=True, monitor_proto="PING")
    yield "tcp-monitor", of(proto="TCP", be_proto="TCP", monitor=True, monitor_proto="TCP")
    yield (
        "tls-hello-monitor",
        of(proto="HTTPS", be_proto="HTTPS", monitor=True, monitor_proto="TLS-HELLO"),
    )
    yield "l7-policy", of(_policies(1, 2, 7), proto="HTTP", l7=True)
    yield "l7-file-type", of(_policies(3), proto="HTTP", l7=True)
    yield "source-ip-persistence", of(proto="HTTP", persistence_type="SOURCE_IP")
    yield (
        "app-cookie-persistence",
        of(proto="HTTP", persistence_type="APP_COOKIE", persistence_cookie="JSESSIONID"),
    )
    yield "proxy-protocol", of(proto="HTTP", be_proto="PROXYV2")
    yield "tls", of(**tls)
    yield "tls-l7-policy", of(_policies(1, 8), l7=True, ssl_type_l7=True, **tls)
    yield "client-authentication", of(client_ca_cert=True, client_crl_cert=True, **tls)
    yield "re-encryption", of(pool_cert=True, pool_ca_cert=True, tls_enabled=True, **tls)
    yield (
        "prometheus",
        of(proto=lib.PROTOCOL_PROMETHEUS, include_pools=False, alloc_default_pool=False),
    )
    yield "additional-vips", of(proto="HTTP", additional_vips=True)
    yield (
        "active-standby",
        of(_with_peers, proto="HTTP", topology="ACTIVE_STANDBY", persistence_type="SOURCE_IP"),
    )


def _keepalived() -> Iterator[tuple[str, Callable[[], str]]]:
    def lvs(proto: str, monitor: str) -> Callable[[], str]:
        def write() -> str:
            listener = sample.sample_listener_tuple(
                proto=proto,
                monitor=True,
                persistence_type="SOURCE_IP",
                persistence_timeout=33,
                persistence_granularity="255.255.0.0",
                monitor_proto=monitor,
            )
            templater = lvs_jinja.LvsJinjaTemplater(base_amp_path=BASE)
            return str(templater.build_config(listener))

        return write

    yield "udp", lvs("UDP", "UDP-CONNECT")
    yield "udp-http-monitor", lvs("UDP", "HTTP")
    yield "udp-tcp-monitor", lvs("UDP", "TCP")
    yield "sctp", lvs(lib.PROTOCOL_SCTP, lib.HEALTH_MONITOR_SCTP)
    yield "vrrp", lambda: _vrrp("10.0.0.0/24", "10.0.0.1", "10.1.1.1", "10.1.1.2", "10.0.0.2")
    yield (
        "vrrp-ipv6",
        lambda: _vrrp(
            "2001:db8::/64", "2001:db8::1", "2001:db8::11", "2001:db8::12", "2001:db8::2"
        ),
    )


def _vrrp(cidr: str, gateway: str, ours: str, theirs: str, vip: str) -> str:
    class Amphora(
        collections.namedtuple(  # type: ignore[misc]
            "Amphora",
            "id role status vrrp_ip vrrp_interface vrrp_id vrrp_priority lb_network_ip ha_ip",
        )
    ):
        def to_dict(self, **_: object) -> dict[str, Any]:
            return dict(self._asdict())

    amphora = Amphora("1", "MASTER", "ALLOCATED", ours, "eth1", 1, 100, ours, vip)
    other = Amphora("2", "BACKUP", "ALLOCATED", theirs, "eth1", 1, 90, theirs, vip)
    balancer = sample.sample_listener_loadbalancer_tuple(
        topology="ACTIVE_STANDBY", vip=sample.sample_vip_tuple(vip)
    )
    fields = {**balancer._asdict(), "amphorae": [amphora, other]}
    fields["vrrp_group"] = sample.sample_vrrp_group_tuple()
    balancer = collections.namedtuple("LoadBalancer", fields)(**fields)  # type: ignore[misc]
    templater = vrrp_jinja.KeepalivedJinjaTemplater()
    subnet = {"cidr": cidr, "gateway_ip": gateway, "host_routes": []}
    try:
        return str(
            templater.build_keepalived_config(
                balancer, amphora, {"vip_subnet": subnet, "additional_vip_data": []}
            )
        )
    except (AttributeError, TypeError, KeyError):
        if "amp_net_config" in inspect.signature(templater.build_keepalived_config).parameters:
            raise
        return str(templater.build_keepalived_config(balancer, amphora, cidr))


def _without_http_version(listener: Any) -> Any:
    pool = listener.default_pool
    pool = pool._replace(health_monitor=pool.health_monitor._replace(http_version=None))
    return listener._replace(default_pool=pool, pools=[pool])


def _with_peers(listener: Any) -> Any:
    balancer = listener.load_balancer
    amphorae = [each._replace(status="ALLOCATED") for each in balancer.amphorae]
    return listener._replace(load_balancer=balancer._replace(amphorae=amphorae))


def _policies(*numbers: int) -> Callable[[Any], Any]:
    def change(listener: Any) -> Any:
        return listener._replace(
            l7policies=[
                sample.sample_l7policy_tuple(f"sample_l7policy_id_{number}", sample_policy=number)
                for number in numbers
            ]
        )

    return change


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split("."))
