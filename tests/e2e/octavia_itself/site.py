"""A cloud whose Octavia boots amphorae, as a test uses it: started, asked, ended with the test."""

from __future__ import annotations

import ctypes
import http.server
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from retrofit.system.tied import tied
from retrofit.verify.boot.network import CLONE_NEWNET, MEMBER, VIP
from tests.answering import answering
from tests.devcloud import cloud as clouds
from tests.devcloud.fixtures import Devcloud
from tests.e2e.octavia_itself.octavia import DRIVERS, BootingOctavia

CHECKOUT = Path(__file__).resolve().parents[3]
READY_SECONDS = 300
PATIENCE = 1800.0
MEMBER_PORT = 9001
TAG = "octavia-amphora"
T = TypeVar("T")


@dataclass(kw_only=True)
class Site:
    """A running cloud. Its networks are reached by functions that `within` runs."""

    directory: Path
    devcloud: Devcloud
    octavia: BootingOctavia
    executor: ThreadPoolExecutor

    def within(self, action: Callable[..., T], *given: Any) -> T:
        """Run a function in the cloud's network; threads that it starts are there too."""
        return self.executor.submit(action, *given).result()

    def upload(self, image: Path, name: str) -> str:
        """Put an amphora image into Glance, as the newest for Octavia."""
        return self.devcloud.plant(image, name=name, tags=[TAG])

    def driver(self, module: str) -> Any:
        """One of the drivers' modules, over this site's state."""
        os.environ["LOCAL_CLOUD"] = str(self.directory)
        if str(DRIVERS) not in sys.path:
            sys.path.append(str(DRIVERS))
        vars(importlib.import_module("local_cloud"))["DIRECTORY"] = self.directory
        return importlib.import_module(module)

    def create(self, name: str, *, topology: str = "SINGLE", monitor: str = "HTTP") -> Balancer:
        """Have Octavia make a load balancer with all that it needs, and wait until it is ACTIVE."""
        local_cloud = self.driver("local_cloud")
        member = {
            "address": MEMBER.ours,
            "protocol_port": MEMBER_PORT,
            "subnet_id": local_cloud.network(MEMBER.device).subnet,
        }
        pool = {
            "name": "pool",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
            "members": [member],
            "healthmonitor": {"type": monitor, "delay": 5, "timeout": 4, "max_retries": 2},
        }
        listener = {"name": "web", "protocol": "HTTP", "protocol_port": 80, "default_pool": pool}
        body = {
            "name": name,
            "vip_subnet_id": local_cloud.network(VIP.device).subnet,
            "listeners": [listener],
        }
        if topology != "SINGLE":
            data = json.dumps({"loadbalancer_topology": topology})
            body["flavor_id"] = self.octavia.create_flavor(topology, data)
        made = self.octavia.admin.post(
            f"{self.octavia.url}/v2/lbaas/loadbalancers", json={"loadbalancer": body}
        ).json()["loadbalancer"]
        balancer = Balancer(site=self, id=made["id"], vip=made["vip_address"])
        balancer.settle()
        return balancer


@dataclass(kw_only=True)
class Balancer:
    """A load balancer that Octavia made."""

    site: Site
    id: str
    vip: str

    @property
    def url(self) -> str:
        return f"{self.site.octavia.url}/v2/lbaas/loadbalancers/{self.id}"

    @property
    def status(self) -> str:
        """Its provisioning status."""
        return str(self._get(self.url)["loadbalancer"]["provisioning_status"])

    def _get(self, url: str) -> Any:
        return self.site.octavia.admin.get(url).json()

    def settle(self) -> None:
        """Wait until Octavia has done with it; it must be ACTIVE then."""
        self.site.octavia._active(self.id)

    def amphorae(self) -> list[dict[str, Any]]:
        """Its amphorae that are not deleted."""
        url = f"{self.site.octavia.url}/v2/octavia/amphorae?loadbalancer_id={self.id}"
        return [each for each in self._get(url)["amphorae"] if each["status"] != "DELETED"]

    def member_status(self) -> str:
        """The operating status of its one member, which heartbeats bring."""
        pools = f"{self.site.octavia.url}/v2/lbaas/pools"
        (pool,) = self._get(f"{pools}?loadbalancer_id={self.id}")["pools"]
        (member,) = self._get(f"{pools}/{pool['id']}/members")["members"]
        return str(member["operating_status"])

    def fail_over(self) -> None:
        """Have Octavia replace its amphorae."""
        self.site.octavia.failover(self.id)

    def delete(self) -> None:
        """Have Octavia delete it with all that it has, and wait for its end."""
        self.site.octavia.admin.delete(f"{self.url}?cascade=true")
        listed = f"{self.site.octavia.url}/v2/lbaas/loadbalancers"
        eventually(
            lambda: self.id not in [each["id"] for each in self._get(listed)["loadbalancers"]]
        )

    def holder(self) -> str:
        """The server that answers for the VIP, by the MAC that ARP found."""
        shown = subprocess.run(
            ["ip", "-json", "neighbour", "show", self.vip, "dev", VIP.device],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        mac = json.loads(shown)[0]["lladdr"]
        (port,) = self.site.driver("local_cloud").ports(mac=mac)
        return str(port.server)


def eventually(holds: Callable[[], bool], *, within: float = PATIENCE) -> float:
    """Wait until something holds, and return the seconds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + within, "it does not come"
        time.sleep(0.5)
    return time.monotonic() - began


class _Member(http.server.BaseHTTPRequestHandler):
    def handle(self) -> None:
        # Health monitors, and machines whose power goes, end connections early.
        with suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        body = b"from the member"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep requests out of the terminal."""


@contextmanager
def running_site(directory: Path, *, cpus: int) -> Iterator[Site]:
    """Keep a cloud for the length of the block; machines have so many CPUs.

    The namespaces of network and processes belong to one process, which dies with this one: so
    does every machine and server in them, however this process ends.
    """
    directory.mkdir()
    inside = [sys.executable, "-m", "tests.e2e.octavia_itself.inside", str(directory)]
    argv = tied(
        "unshare", "--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--",
        # The first process of the namespace, which reaps what QEMU and Octavia leave to it.
        "bash", "-c", '"$@" & wait', "inside", *inside,
        by="KILL",
    )  # fmt: skip
    output = directory / "inside.out"
    with (
        output.open("wb") as sink,
        subprocess.Popen(
            argv,
            cwd=CHECKOUT,
            env={**os.environ, "LOCAL_CLOUD_CPUS": str(cpus)},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        ) as namespaces,
    ):
        try:
            eventually(
                lambda: (directory / "site.json").exists() or namespaces.poll() is not None,
                within=READY_SECONDS,
            )
            assert (directory / "site.json").exists(), output.read_text()
            with _network_of(namespaces.pid) as executor:
                yield executor.submit(_site, directory, executor).result()
        finally:
            namespaces.kill()


@contextmanager
def _network_of(unshare: int) -> Iterator[ThreadPoolExecutor]:
    """Make a thread in the network of `unshare`'s child, with the member's server beside it."""
    child = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0]

    def enter() -> None:
        # os.setns needs Python 3.12.
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/proc/{child}/ns/net").open() as network:
            if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    with ThreadPoolExecutor(1, thread_name_prefix="site", initializer=enter) as executor:
        server = executor.submit(
            http.server.ThreadingHTTPServer, (MEMBER.ours, MEMBER_PORT), _Member
        ).result()
        with server, answering(server):
            yield executor


def _site(directory: Path, executor: ThreadPoolExecutor) -> Site:
    devcloud = Devcloud(running=clouds.load(directory / "cloud"))
    facts = json.loads((directory / "site.json").read_text())
    octavia = BootingOctavia(
        cloud=devcloud.running,
        admin=devcloud.session(devcloud.admin_cloud),
        port=facts["octavia_port"],
    )
    return Site(directory=directory, devcloud=devcloud, octavia=octavia, executor=executor)
