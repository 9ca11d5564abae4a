"""The trial's configurations are those that Octavia's own templates render."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from retrofit.system import process
from retrofit.verify.boot.configs.keepalived import Address, keepalived_config
from retrofit.verify.boot.configs.lvs import lvs_config
from retrofit.verify.boot.configs.model import LoadBalancer
from retrofit.verify.boot.load_balancer import Balancer, load_balancer, vips_of
from retrofit.verify.boot.network import PEER_ADDRESS, VIP
from retrofit.verify.boot.scenario import PAIR, SINGLE, Scenario
from tests.component.control_plane import octavias

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache/language"
OCTAVIA_PYTHON = ROOT / ".venv-devcloud/bin/python"
TEMPLATES = Path(__file__).with_name("octavia_templates.py")


def made(scenario: Scenario, *, full: bool = True, **agent: bool) -> Balancer:
    return load_balancer(
        scenario,
        "6e1f5a0c-58a4-4a5b-9ab1-3d1fbd1d1f04",
        balancer_id="0b4a2f53-6ef9-4d0c-9e07-3b1a3f0d5a10",
        full=full,
        vips=vips_of(scenario, full=full, **agent),
    )


def question(described: LoadBalancer, haproxy: str, **more: Any) -> dict[str, Any]:
    """What Octavia is to render."""
    return {
        "balancer": {**asdict(described), "topology": described.topology},
        "haproxy": haproxy.split("."),
        **more,
    }


HAPROXY_VERSIONS = ("3.0.11", "2.0.33")
BALANCERS = {
    "full": made(SINGLE),
    "boot": made(SINGLE, full=False),
    "agent-before-11": made(SINGLE, additional_vips=False),
    "agent-11": made(SINGLE, both_families=False),
    "pair": made(PAIR),
}
PAIR_VIPS = BALANCERS["pair"].vips
VRRP = {
    "group": "group",
    "password": "abcdefg",
    "subnets": [
        {"ip_address": vip.address, "subnet": {"cidr": vip.network, "gateway_ip": vip.gateway}}
        for vip in PAIR_VIPS
    ],
}


@pytest.fixture(scope="module")
def theirs() -> dict[tuple[str, str], dict[str, Any]]:
    """Everything that Octavia renders, by load balancer and HAProxy's version.

    In one process: its imports take longer than all that it renders.
    """
    cells = [(name, haproxy) for name in BALANCERS for haproxy in HAPROXY_VERSIONS]
    asked = [
        question(BALANCERS[name].described(), haproxy, **({"vrrp": VRRP} if name == "pair" else {}))
        for name, haproxy in cells
    ]
    done = process.run(
        [OCTAVIA_PYTHON, "-W", "ignore", TEMPLATES], timeout=300, stdin=json.dumps(asked).encode()
    )
    return dict(zip(cells, json.loads(done.stdout), strict=True))


Theirs = dict[tuple[str, str], dict[str, Any]]


def lines(text: str) -> list[str]:
    """Lines without what neither HAProxy nor keepalived reads: indentation, empty ones."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("haproxy", HAPROXY_VERSIONS)
@pytest.mark.parametrize("name", BALANCERS)
def test_haproxy_gets_what_octavia_would_write(name: str, haproxy: str, theirs: Theirs) -> None:
    version = tuple(int(number) for number in haproxy.split("."))
    ours = BALANCERS[name].haproxy_config(version)
    assert lines(ours) == lines(theirs[name, haproxy]["haproxy"])


@pytest.mark.parametrize("name", ["full", "agent-11"])
def test_lvs_gets_what_octavia_would_write(name: str, theirs: Theirs) -> None:
    described = BALANCERS[name].described()
    ours = {
        each.id: lines(lvs_config(described, each))
        for each in described.listeners
        if not each.by_haproxy
    }
    assert len(ours) == 2
    assert ours == {
        each: lines(text) for each, text in theirs[name, HAPROXY_VERSIONS[0]]["lvs"].items()
    }


@pytest.mark.slow
def test_lvs_of_an_agent_before_11_gets_what_octavia_10_would_write() -> None:
    described = BALANCERS["agent-before-11"].described()
    code = octavias.unpacked("10.1.1", CACHE / "octavia")
    done = process.run(
        [OCTAVIA_PYTHON, "-P", "-W", "ignore", TEMPLATES],
        timeout=300,
        stdin=json.dumps([question(described, "2.4.24", only="lvs")]).encode(),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(code)},
    )
    (theirs,) = json.loads(done.stdout)
    ours = {
        each.id: lines(lvs_config(described, each, grouped=False))
        for each in described.listeners
        if not each.by_haproxy
    }
    assert len(ours) == 2
    assert ours == {each: lines(text) for each, text in theirs["lvs"].items()}


def test_keepalived_gets_what_octavia_would_write(theirs: Theirs) -> None:
    ours = keepalived_config(
        group=str(VRRP["group"]),
        password=str(VRRP["password"]),
        ours=VIP.theirs,
        peer=PEER_ADDRESS,
        vips=tuple(
            Address(address=each.address, network=each.network, gateway=each.gateway)
            for each in PAIR_VIPS
        ),
    )
    assert lines(ours) == lines(theirs["pair", HAPROXY_VERSIONS[0]]["keepalived"])
