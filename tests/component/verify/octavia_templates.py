"""Octavia's own templates render a load balancer; run with a Python that has octavia installed.

Reads a JSON list from stdin: load balancers as `retrofit.verify.boot.configs.model` has them, with
what keepalived's template needs besides. Writes the texts of each as JSON. Nothing of this project
is imported: what happens here is Octavia's work alone.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from octavia.amphorae.drivers.keepalived.jinja.jinja_cfg import KeepalivedJinjaTemplater
from octavia.common import constants
from octavia.common.config import cfg
from octavia.common.jinja.haproxy.combined_listeners.jinja_cfg import JinjaTemplater
from octavia.common.jinja.lvs.jinja_cfg import LvsJinjaTemplater
from octavia.db import models

Described = dict[str, Any]


def monitor(described: Described) -> models.HealthMonitor:
    """Return a health monitor as the API stores it."""
    http = described["type"] == constants.HEALTH_MONITOR_HTTP
    return models.HealthMonitor(
        id=described["id"], type=described["type"], delay=described["delay"],
        timeout=described["timeout"], fall_threshold=described["fall"],
        rise_threshold=described["rise"], enabled=True,
        http_method="GET" if http else None, url_path=described["url_path"] if http else None,
        expected_codes="200" if http else None, provisioning_status=constants.ACTIVE,
    )  # fmt: skip


def pool(described: Described) -> models.Pool:
    """Return a pool with its members."""
    members = [
        models.Member(
            id=each["id"], ip_address=each["address"], protocol_port=each["port"], weight=1,
            enabled=True, backup=False, operating_status=constants.NO_MONITOR,
            provisioning_status=constants.ACTIVE,
        )
        for each in described["members"]
    ]  # fmt: skip
    encrypted = described["ca_file"] is not None
    api = cfg.CONF.api_settings
    return models.Pool(
        id=described["id"], protocol=described["protocol"], lb_algorithm="ROUND_ROBIN",
        enabled=True, members=members, operating_status=constants.ONLINE,
        provisioning_status=constants.ACTIVE, tls_enabled=encrypted,
        ca_tls_certificate_id="ca" if encrypted else None,
        tls_ciphers=api.default_pool_ciphers if encrypted else None,
        tls_versions=api.default_pool_tls_versions if encrypted else None,
        health_monitor=monitor(described["monitor"]) if described["monitor"] else None,
    )  # fmt: skip


def policy(described: Described) -> models.L7Policy:
    """Return an L7 policy of one rule."""
    path = described["rule"] == "PATH"
    rule = models.L7Rule(
        id=described["rule_id"], type=described["rule"], value=described["value"], enabled=True,
        compare_type="STARTS_WITH" if path else "EQUAL_TO", key=None, invert=False,
        provisioning_status=constants.ACTIVE,
    )  # fmt: skip
    url = described["redirect_url"]
    return models.L7Policy(
        id=described["id"], enabled=True, l7rules=[rule], provisioning_status=constants.ACTIVE,
        action="REDIRECT_TO_URL" if url else "REJECT", redirect_url=url,
        redirect_http_code=302 if url else None,
    )  # fmt: skip


def listener(described: Described, pools: dict[str, models.Pool]) -> models.Listener:
    """Return a listener; those of one pool share it."""
    terminated = described["protocol"] == constants.PROTOCOL_TERMINATED_HTTPS
    default = described["pool"]
    if default is not None:
        default = pools.setdefault(default["id"], pool(default))
    headers = {"X-Forwarded-For": "true"}
    api = cfg.CONF.api_settings
    client_ca = described["client_ca_file"]
    return models.Listener(
        id=described["id"], protocol=described["protocol"], protocol_port=described["port"],
        connection_limit=1000, enabled=True, default_pool=default, insert_headers=headers,
        l7policies=[policy(each) for each in described["policies"]],
        timeout_client_data=50000, timeout_member_connect=5000, timeout_member_data=50000,
        timeout_tcp_inspect=0, provisioning_status=constants.ACTIVE, peer_port=1025,
        tls_certificate_id="certificate" if terminated else None,
        tls_ciphers=api.default_listener_ciphers if terminated else None,
        tls_versions=api.default_listener_tls_versions if terminated else None,
        alpn_protocols=described["alpn"] or None,
        client_ca_tls_certificate_id="client-ca" if client_ca else None,
        client_authentication="MANDATORY" if client_ca else "NONE",
    )  # fmt: skip


def balancer(described: Described) -> models.LoadBalancer:
    """Return a load balancer as the database describes it."""
    amphorae = [
        models.Amphora(
            id=each["id"], vrrp_ip=each["vrrp_ip"], status=constants.AMPHORA_ALLOCATED,
            vrrp_interface="eth1", vrrp_id=1, vrrp_priority=100,
        )
        for each in described["amphorae"]
    ]  # fmt: skip
    pools: dict[str, models.Pool] = {}
    listeners = [listener(each, pools) for each in described["listeners"]]
    primary, *additional = described["vips"]
    further: Described = {}
    if additional:  # which Octavia 10 has no model of
        further["additional_vips"] = [models.AdditionalVip(ip_address=each) for each in additional]
    return models.LoadBalancer(
        id=described["id"], name="trial", project_id=described["project_id"], enabled=True,
        topology=described["topology"], amphorae=amphorae, pools=list(pools.values()),
        vip=models.Vip(ip_address=primary), listeners=listeners, **further,
    )  # fmt: skip


def render(asked: Described) -> Described:
    """Return all three kinds of configuration of one load balancer."""
    described = asked["balancer"]
    made = balancer(described)
    certificates: dict[str, Any] = {}
    for each in described["listeners"]:
        if each["client_ca_file"]:
            certificates["client-ca"] = each["client_ca_file"]
        if each["pool"] and each["pool"]["ca_file"]:
            certificates[each["pool"]["id"]] = {"ca_cert": each["pool"]["ca_file"]}
    if asked.get("only") == "lvs":
        return {"lvs": _lvs(made)}
    texts: Described = {
        "haproxy": JinjaTemplater(connection_logging=True).build_config(
            made.amphorae[0],
            made.listeners,
            tls_certs=certificates,
            haproxy_versions=asked["haproxy"],
            amp_details={},
        ),
        "lvs": _lvs(made),
    }
    if "vrrp" in asked:
        vrrp = asked["vrrp"]
        made.vrrp_group = models.VRRPGroup(
            vrrp_group_name=vrrp["group"], vrrp_auth_type="PASS", vrrp_auth_pass=vrrp["password"],
            advert_int=1,
        )  # fmt: skip
        primary, *additional = vrrp["subnets"]
        texts["keepalived"] = KeepalivedJinjaTemplater().build_keepalived_config(
            made,
            made.amphorae[0],
            {
                "vip_subnet": primary["subnet"],
                "additional_vip_data": additional,
            },
        )
    return texts


def _lvs(made: models.LoadBalancer) -> dict[str, str]:
    return {
        each.id: LvsJinjaTemplater().build_config(each)
        for each in made.listeners
        if each.protocol in ("UDP", "SCTP")
    }


def main() -> None:
    """Render them all."""
    cfg.CONF([], project="octavia", default_config_files=[])
    json.dump([render(asked) for asked in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
