"""The config drive of a machine, as Nova makes it for an amphora.

Nova: `nova/api/metadata/base.py`; what Octavia puts into `files`:
`octavia/controller/worker/v2/tasks/compute_tasks.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retrofit.errors import VerifyError
from retrofit.system import process
from retrofit.verify.agent_files import (
    AGENT_CONF,
    CERTIFICATE_DIRECTORY,
    CLIENT_CA_PEM,
    SERVER_PEM,
)
from retrofit.verify.boot.network import MANAGEMENT
from retrofit.verify.boot.scenario import SINGLE, Scenario

RSYSLOG_CONF = "/etc/rsyslog.d/10-rsyslog.conf"
AGENT_PORT = 9443
HEARTBEAT_PORT = 5555
TENANT_LOG_PORT, ADMINISTRATIVE_LOG_PORT = 10514, 10515
HEARTBEAT_SECONDS = 3
"""Octavia's default is 10; a shorter interval only lets the verification end sooner."""

COMMAND_TIMEOUT = 60.0
NETWORK_TYPES = {"ipv4": "ipv4_dhcp", "ipv6": "ipv6_slaac"}
"""Nova's words (`nova/virt/netutils.py`)."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The identity, keys and user data of one amphora."""

    amphora_id: str
    instance_id: str
    heartbeat_key: str
    server_pem: bytes
    client_ca_pem: bytes
    user_data: bytes
    scenario: Scenario = SINGLE

    @property
    def controller(self) -> str:
        """Return our address on the management network."""
        return MANAGEMENT.ends(self.scenario.management)[0]

    @property
    def files(self) -> Mapping[str, bytes]:
        """Return what is put into the machine, by path."""
        return {
            AGENT_CONF: agent_conf(self).encode(),
            SERVER_PEM: self.server_pem,
            CLIENT_CA_PEM: self.client_ca_pem,
            RSYSLOG_CONF: log_forwarding(self.controller).encode(),
        }


def agent_conf(assignment: Assignment) -> str:
    """Write the agent's configuration.

    Keys and order: `octavia/amphorae/backends/agent/templates/amphora_agent_conf.template`.
    """
    # An IPv6 address as charm-octavia writes it, without brackets: all agents read that, and those
    # before 10.1.0, 11.0.1, 12.0.1 and 13.0.0 take brackets for a part of the address.
    return f"""\
[DEFAULT]
debug = False
use_syslog = True
syslog_log_facility = LOG_LOCAL1

[haproxy_amphora]
base_cert_dir = {CERTIFICATE_DIRECTORY}
base_path = /var/lib/octavia
bind_host = ::
bind_port = {AGENT_PORT}
haproxy_cmd = /usr/sbin/haproxy
user_log_facility = 0
administrative_log_facility = 1

[health_manager]
controller_ip_port_list = {assignment.controller}:{HEARTBEAT_PORT}
heartbeat_interval = {HEARTBEAT_SECONDS}
heartbeat_key = {assignment.heartbeat_key}

[amphora_agent]
agent_server_ca = {CLIENT_CA_PEM}
agent_server_cert = {SERVER_PEM}
agent_request_read_timeout = 180
amphora_id = {assignment.amphora_id}
amphora_udp_driver = keepalived_lvs
agent_tls_protocol = TLSv1.2

[controller_worker]
loadbalancer_topology = {assignment.scenario.topology}
"""


def log_forwarding(controller: str) -> str:
    """Write rsyslog's configuration: logs of the tenant's traffic, and of administration.

    `octavia/common/jinja/logging/templates/10-rsyslog.conf.template`, with Octavia's defaults.
    """
    sections = ""
    for name, port, selector in (
        ("tenant", TENANT_LOG_PORT, "local0.=info"),
        ("admin", ADMINISTRATIVE_LOG_PORT, "local1.*"),
    ):
        sections += f"""\
ruleset(name="{name}_forwarding" queue.type="linkedList" queue.size="10000") {{
  action(type="omfwd"
         target="{controller}"
         port="{port}"
         protocol="UDP"
         action.resumeRetryCount="3"
         action.resumeInterval="10"
         )
}}
{selector} call {name}_forwarding
"""
    return sections


def lay_out(assignment: Assignment, directory: Path) -> None:
    """Write the drive's files below `directory`."""
    content, latest = directory / "openstack/content", directory / "openstack/latest"
    content.mkdir(parents=True)
    latest.mkdir()
    files = []
    for number, (path, data) in enumerate(assignment.files.items()):
        (content / f"{number:04}").write_bytes(data)
        files.append({"content_path": f"/content/{number:04}", "path": path})
    metadata = {
        "uuid": assignment.instance_id,
        "name": f"amphora-{assignment.amphora_id}",
        "hostname": f"amphora-{assignment.amphora_id}",
        "launch_index": 0,
        "availability_zone": "nova",
        "files": files,
    }
    # The VIP's port is plugged by Octavia later: Nova knows nothing of it when it makes the drive.
    network = {
        "links": [
            {
                "id": "tap-management",
                "vif_id": assignment.instance_id,
                "type": "ovs",
                "mtu": 1500,
                "ethernet_mac_address": MANAGEMENT.mac,
            }
        ],
        "networks": [
            {
                "id": "network0",
                "type": NETWORK_TYPES[assignment.scenario.management],
                "link": "tap-management",
            }
        ],
        "services": [],
    }
    (latest / "meta_data.json").write_text(json.dumps(metadata))
    (latest / "network_data.json").write_text(json.dumps(network))
    (latest / "user_data").write_bytes(assignment.user_data)


def make(assignment: Assignment, work_dir: Path) -> Path:
    """Make the ISO 9660 file in `work_dir` and return its path. Raises VerifyError."""
    tree, drive = work_dir / "config-drive", work_dir / "config-drive.iso"
    lay_out(assignment, tree)
    try:
        process.run(
            ["xorriso", "-as", "mkisofs", "-quiet", "-V", "config-2", "-J", "-R",
             "-o", drive, tree],
            timeout=COMMAND_TIMEOUT,
        )  # fmt: skip
    except process.CommandError as error:
        raise VerifyError(
            f"the config drive cannot be made: {error}", hint="install xorriso"
        ) from error
    return drive
