"""An Octavia that boots amphorae: the development cloud's, with drivers of its own."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from retrofit.verify.boot.certificates import authority, issued
from retrofit.verify.boot.network import MANAGEMENT
from tests.devcloud import processes
from tests.devcloud.octavia_api import Octavia
from tests.devcloud.places import server_program

DRIVERS = Path(__file__).with_name("drivers")
HEARTBEAT_PORT = 5555
ENTRY_POINTS = """\
[octavia.compute.drivers]
compute_local_driver = local_compute:LocalCompute
[octavia.network.drivers]
network_local_driver = local_network:LocalNetwork
"""


@dataclass(kw_only=True)
class BootingOctavia(Octavia):
    """octavia-api, worker and health manager whose amphorae are machines."""

    application: str = "booting_octavia_app:application"
    settle_seconds: float = 1800

    @property
    def site(self) -> Path:
        """The directory of the local cloud."""
        return self.cloud.state.parent

    def start(self) -> None:
        """Start the API with the worker, and the health manager."""
        self.directory.mkdir(exist_ok=True)
        # Python's agent wants a CA with its key usage (3.13): those of the trial have it.
        amphorae, controllers = authority("amphorae"), authority("controllers")
        for name, content in (
            ("ca.pem", amphorae.certificate_pem),
            ("ca.key", amphorae.key_pem),
            ("client-ca.pem", controllers.certificate_pem),
            ("client.pem", issued(controllers, "controller").pem),
        ):
            (self.directory / name).write_bytes(content)
        self._install_drivers()
        super().start()
        processes.start(
            [server_program("python"), DRIVERS / "health_manager.py"],
            pid_file=self.cloud.pid_file("health-manager"),
            log_file=self.cloud.state / "log" / "health-manager.out",
            env=self.environment(),
            tied=True,
        )

    def _install_drivers(self) -> None:
        """Have Octavia find the drivers where it finds all: by entry points of a distribution."""
        metadata = self.site / "site-packages/octavia_local_drivers-1.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: octavia-local-drivers\nVersion: 1\n"
        )
        (metadata / "entry_points.txt").write_text(ENTRY_POINTS)

    def environment(self) -> dict[str, str]:
        """As the base class's, and with our drivers."""
        inherited = super().environment()
        path = (DRIVERS, self.site / "site-packages", inherited["PYTHONPATH"])
        return {
            **inherited,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "LOCAL_CLOUD": str(self.site),
        }

    def configuration(self) -> str:
        """As the base class's, with other drivers and the patience that emulation takes."""
        # The drivers' module cannot be imported here: its state is named by the environment.
        import local_cloud

        boot_network = local_cloud.network(MANAGEMENT.device)
        assert boot_network is not None
        return (
            super().configuration()
            + f"""
[controller_worker]
network_driver = network_local_driver
compute_driver = compute_local_driver
amphora_driver = amphora_haproxy_rest_driver
amp_boot_network_list = {boot_network.id}
client_ca = {self.directory}/client-ca.pem

[haproxy_amphora]
client_cert = {self.directory}/client.pem
server_ca = {self.directory}/ca.pem
rest_request_read_timeout = 300
rest_request_conn_timeout = 30
active_connection_max_retries = 60
# Five seconds each: a pair that boots beside other work takes more than Octavia's ten minutes.
connection_max_retries = 360

[certificates]
cert_generator = local_cert_generator

[health_manager]
bind_ip = {MANAGEMENT.ours}
bind_port = {HEARTBEAT_PORT}
controller_ip_port_list = {MANAGEMENT.ours}:{HEARTBEAT_PORT}
heartbeat_key = {secrets.token_hex(16)}
# An amphora that is being configured by emulation may say nothing for a minute.
heartbeat_timeout = 120
health_update_threads = 1
stats_update_threads = 1
"""
        )
