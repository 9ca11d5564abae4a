"""The cloud inside its namespaces: networks, Keystone, Glance, Octavia, DHCP, until it is ended.

The one argument is the site's directory. Nothing here reaches the host's network.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

from retrofit.verify.boot import dhcp
from retrofit.verify.boot.network import CABLES, MANAGEMENT
from tests.devcloud import cloud as clouds
from tests.devcloud.fixtures import Devcloud
from tests.e2e.octavia_itself.octavia import DRIVERS, BootingOctavia


def main() -> None:
    """Start everything, write site.json, and give addresses to machines."""
    site = Path(sys.argv[1])
    os.environ["LOCAL_CLOUD"] = str(site)
    sys.path.append(str(DRIVERS))
    import local_cloud

    networks = [
        {"bridge": cable.device, "cidr": cable.cidr, "ours": cable.ours} for cable in CABLES
    ]
    (site / "networks.json").write_text(json.dumps(networks))
    local_cloud.make_bridges()
    devcloud = Devcloud(running=clouds.up(site / "cloud", tied=True))
    octavia = BootingOctavia(cloud=devcloud.running, admin=devcloud.session(devcloud.admin_cloud))
    octavia.start()
    partial = site / "site.json.partial"
    partial.write_text(json.dumps({"octavia_port": octavia.port}))
    partial.rename(site / "site.json")
    serve_addresses()


def serve_addresses() -> None:
    """Answer DHCP requests on the management network: a port's address for its MAC."""
    import local_cloud

    management = local_cloud.network(MANAGEMENT.device)
    assert management is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, MANAGEMENT.device.encode())
        listener.bind(("0.0.0.0", 67))
        while True:
            request = listener.recv(4096)
            for port in local_cloud.ports(network=management.id):
                cable = replace(MANAGEMENT, mac=port.mac, theirs=port.address)
                reply = dhcp.reply_to(request, cable)
                if reply is not None:
                    listener.sendto(reply, ("255.255.255.255", 68))


if __name__ == "__main__":
    main()
