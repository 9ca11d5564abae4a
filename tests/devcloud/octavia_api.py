"""A real Octavia beside the development cloud's Keystone and Glance, for the tests that ask it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from keystoneauth1 import session

from tests.devcloud import accounts, catalog, processes
from tests.devcloud.places import DevcloudError
from tests.devcloud.servers import Cloud, environment, gunicorn, wait_until_answering

SETTLE_SECONDS = 180.0
"""How long Octavia may take to build or replace a load balancer."""
PENDING = "PENDING_"
TYPE = "load-balancer"
"""Of its entry in the catalog."""


@dataclass(kw_only=True)
class Octavia:
    """octavia-api and its controller worker: a process, its catalog entry, its rows."""

    cloud: Cloud
    admin: session.Session
    """Of a user who is `admin`: Octavia's own answer to what we ask as others."""
    port: int = 0
    application: str = "octavia_app:application"
    """Module of in_servers/, and its WSGI application."""
    settle_seconds: float = SETTLE_SECONDS
    heartbeats: bool = False
    """Whether a health manager runs, and amphorae send it heartbeats: in_servers/heartbeats.py."""
    tied: bool = True
    """Whether it ends with this process."""
    conf_extra: str = ""
    """Lines appended to octavia.conf; they begin with their own [section]."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def directory(self) -> Path:
        return self.cloud.state / "octavia"

    @property
    def database(self) -> str:
        return f"sqlite:///{self.directory}/octavia.db"

    @property
    def conf_file(self) -> Path:
        return self.directory / "octavia.conf"

    def start(self) -> None:
        """Start it, on the port it had before if any, and wait until it answers."""
        self.directory.mkdir(exist_ok=True)
        if not (self.directory / "ca.pem").exists():
            _make_authority(self.directory)
        with processes.listen(self.port or None) as listener:
            self.port = listener.getsockname()[1]
            self.conf_file.write_text(self.configuration())
            processes.start(
                gunicorn(self.application, listener),
                pid_file=self.cloud.pid_file("octavia"),
                log_file=self.cloud.state / "log" / "octavia.out",
                env=self.environment(),
                keep_open=[listener.fileno()],
                tied=self.tied,
            )
        logs = (self.cloud.log_file("octavia"), self.cloud.state / "log" / "octavia.out")
        wait_until_answering("octavia", self.url, self.cloud.pid_file("octavia"), logs)

    def configuration(self) -> str:
        """octavia.conf; of an option that is there twice, Octavia takes the last."""
        return _conf(self.cloud, self.directory) + self.conf_extra

    def environment(self) -> dict[str, str]:
        """The environment of Octavia's processes."""
        further = {"OCTAVIA_HEARTBEATS": "1"} if self.heartbeats else {}
        return {
            **environment(self.cloud.state),
            "OCTAVIA_CONF": str(self.conf_file),
            **further,
        }

    def up(self) -> None:
        """Have it run, whatever the test before has done to it."""
        if not processes.is_running(self.cloud.pid_file("octavia")):
            self.start()
        self.limit_pages(1000)

    def limit_pages(self, rows: int) -> None:
        """Have it cut listings at so many rows: its pagination_max_limit."""
        self._have("limit_pages", rows)

    def stop(self) -> None:
        """End it; its rows and its catalog entry stay."""
        processes.stop(self.cloud.pid_file("octavia"))

    def register(self, url: str | None = None) -> None:
        """Have the catalog name it, by another URL than its own where one is given."""
        catalog.register(self.admin, self.cloud.keystone_url, TYPE, url or self.url)

    def unregister(self) -> None:
        """Have the catalog name it no more."""
        catalog.unregister(self.admin, self.cloud.keystone_url, TYPE)

    def add(
        self,
        *,
        load_balancers: Iterable[dict[str, Any]] = (),
        amphorae: Iterable[dict[str, Any]] = (),
    ) -> None:
        """Write rows into Octavia's tables, as octavia_rows.py in its process understands them."""
        self._have("add", {"load_balancers": list(load_balancers), "amphorae": list(amphorae)})

    def mark_deleted(self, amphorae: Iterable[str]) -> None:
        """Do to amphorae what Octavia's controller does at the end of a deletion."""
        self._have("mark_deleted", list(amphorae))

    def garble(self, amphora: str) -> None:
        """Make a row such that Octavia fails over it."""
        self._have("garble", amphora)

    def clear(self) -> None:
        """Leave no load balancers, amphorae or flavors."""
        self._have("clear")

    def mute(self, load_balancers: Iterable[str]) -> None:
        """Have the amphorae of these load balancers send no heartbeats, and those of others."""
        self._have("mute", list(load_balancers))

    def set_status(self, load_balancer: str, **columns: Any) -> None:
        """Write into the row of a load balancer what no request can."""
        self._have("set_status", load_balancer, columns)

    def set_address(self, amphora: str, address: str) -> None:
        """Have an amphora at another address of the management network."""
        self._have("set_address", amphora, address)

    def set_vip(self, load_balancer: str, **columns: str) -> None:
        """Have the VIP of a load balancer in another network or subnet."""
        self._have("set_vip", load_balancer, columns)

    def _have(self, done: str, *given: Any) -> None:
        """Call a function of octavia_rows.py in Octavia's process."""
        self.admin.post(f"{self.url}/does/{done}", json=given)

    def create_load_balancer(self, name: str, **attributes: str) -> str:
        """Have Octavia build a load balancer, whose amphora starts from the image it finds."""
        body = {"loadbalancer": {"name": name, "vip_network_id": VIP_NETWORK, **attributes}}
        made = self.admin.post(f"{self.url}/v2/lbaas/loadbalancers", json=body).json()
        return self._active(str(made["loadbalancer"]["id"]))

    def create_load_balancers(self, bodies: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Have Octavia build load balancers with all that they have; their ids, by name."""
        made = {}
        for name, body in bodies.items():
            whole = {"name": name, "vip_network_id": VIP_NETWORK, **body}
            url = f"{self.url}/v2/lbaas/loadbalancers"
            answer = self.admin.post(url, json={"loadbalancer": whole}, raise_exc=False)
            if answer.status_code != 201:
                raise DevcloudError(f"load balancer {name}: {answer.text}")
            # One after the other: its controller and its API share a SQLite file.
            made[name] = self._active(str(answer.json()["loadbalancer"]["id"]))
        return made

    def create_flavor(self, name: str, data: str) -> str:
        """Make a flavor with a profile of its own; `data` is JSON for the amphora driver."""
        profile = {"name": name, "provider_name": "amphora", "flavor_data": data}
        made = self.admin.post(
            f"{self.url}/v2/lbaas/flavorprofiles", json={"flavorprofile": profile}
        ).json()["flavorprofile"]
        flavor = {"name": name, "flavor_profile_id": made["id"], "enabled": True}
        made = self.admin.post(f"{self.url}/v2/lbaas/flavors", json={"flavor": flavor}).json()
        return str(made["flavor"]["id"])

    def failover(self, load_balancer: str) -> None:
        """Have Octavia replace the amphorae of a load balancer, and wait until it has."""
        self.admin.put(f"{self.url}/v2/lbaas/loadbalancers/{load_balancer}/failover")
        self._active(load_balancer)

    def images_of(self, load_balancer: str) -> list[str | None]:
        """The images that the amphorae of a load balancer run on."""
        url = f"{self.url}/v2/octavia/amphorae?loadbalancer_id={load_balancer}"
        return [each["image_id"] for each in self.admin.get(url).json()["amphorae"]]

    def settled(self, load_balancer: str) -> str:
        """Wait until Octavia's controller has done with a load balancer, and return its status."""
        url = f"{self.url}/v2/lbaas/loadbalancers/{load_balancer}"
        deadline = time.monotonic() + self.settle_seconds
        while (now := self._status(url)).startswith(PENDING) and time.monotonic() < deadline:
            time.sleep(0.1)
        return now

    def _active(self, load_balancer: str) -> str:
        now = self.settled(load_balancer)
        if now != "ACTIVE":
            raise DevcloudError(f"load balancer {load_balancer} is {now}: see {self.cloud.state}")
        return load_balancer

    def _status(self, url: str) -> str:
        return str(self.admin.get(url).json()["loadbalancer"]["provisioning_status"])


VIP_NETWORK = "0b0e5c4e-3c3f-4d0e-9c57-0f8a4c0f5d10"
MANAGEMENT_NETWORK = "7f3d9c52-0a54-4a0e-8b8e-3f6c1c1b7a21"
"""The no-op network driver knows every network; Octavia wants these two to differ."""


def _make_authority(directory: Path) -> None:
    """Make the CA of amphorae and of those who talk to them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "devcloud octavia")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "ca.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _conf(cloud: Cloud, directory: Path) -> str:
    auth = accounts.ini_of("demo-octavia", cloud.keystone_url)
    return f"""\
[DEFAULT]
log_file = {cloud.log_file("octavia")}
transport_url = fake://

[api_settings]
enabled_provider_drivers = amphora:the amphora driver
# What a controller behind a proxy believes its address to be; links in answers begin with it.
api_base_uri = http://127.0.0.1:9

[database]
connection = sqlite:///{directory}/octavia.db?timeout=30
sqlite_synchronous = false

[keystone_authtoken]
www_authenticate_uri = {cloud.keystone_url}
{auth}
service_type = load-balancer

[service_auth]
{auth}

[glance]
region_name = {accounts.REGION}

[controller_worker]
network_driver = network_noop_driver
compute_driver = compute_noop_driver
amphora_driver = amphora_noop_driver
image_driver = image_glance_driver
amp_image_tag = octavia-amphora
amp_flavor_id = 1
amp_boot_network_list = {MANAGEMENT_NETWORK}
client_ca = {directory}/ca.pem

[health_manager]
bind_ip = 127.0.0.1
bind_port = 0
heartbeat_key = secret

[certificates]
cert_manager = local_cert_manager
ca_certificate = {directory}/ca.pem
ca_private_key = {directory}/ca.key

[oslo_messaging_notifications]
driver = noop
"""
