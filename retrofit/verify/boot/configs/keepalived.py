"""Keepalived's configuration of an amphora of a pair.

`octavia/amphorae/drivers/keepalived/jinja/templates/`, as of Octavia 19, with Octavia's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass

INTERFACE = "eth1"
ROUTER_ID = 1
MASTER_PRIORITY = 100
ADVERTISEMENT_INTERVAL = 1
CHECK_SCRIPT = "/var/lib/octavia/vrrp/check_script.sh"


@dataclass(frozen=True, kw_only=True)
class Address:
    """A VIP with its subnet and our end of it."""

    address: str
    network: str
    gateway: str

    @property
    def ipv6(self) -> bool:
        """Return True if it is an IPv6 address."""
        return ":" in self.address


def keepalived_config(
    *, group: str, password: str, ours: str, peer: str, vips: tuple[Address, ...]
) -> str:
    """Write the configuration. `ours` is this amphora's address, `peer` the other's."""
    same = [each.address for each in vips if each.ipv6 == (":" in ours)]
    other = [each.address for each in vips if each.ipv6 != (":" in ours)]
    routes, rules = [], []
    for each in vips:
        routes += [
            f"{each.network} dev {INTERFACE} src {each.address} scope link table 1",
            f"default via {each.gateway} dev {INTERFACE} onlink table 1",
        ]
        rules.append(f"from {each.address}/{128 if each.ipv6 else 32} table 1 priority 100")
    return f"""\
vrrp_script check_script {{
    script {CHECK_SCRIPT}
    interval 5
    fall 2
    rise 2
}}

vrrp_instance {group} {{
    interface {INTERFACE}
    virtual_router_id {ROUTER_ID}
    priority {MASTER_PRIORITY}
    nopreempt
    accept
    garp_master_refresh 5
    garp_master_refresh_repeat 2
    advert_int {ADVERTISEMENT_INTERVAL}
    authentication {{
        auth_type PASS
        auth_pass {password}
    }}

    unicast_src_ip {ours}
    unicast_peer {{
        {peer}
    }}

    virtual_ipaddress {{
{_listed(same)}    }}

    virtual_ipaddress_excluded {{
{_listed(other)}    }}

    virtual_routes {{
{_listed(routes)}    }}

    virtual_rules {{
{_listed(rules)}    }}

    track_script {{
        check_script
    }}
}}
"""


def _listed(lines: list[str]) -> str:
    return "".join(f"        {line}\n" for line in lines)
