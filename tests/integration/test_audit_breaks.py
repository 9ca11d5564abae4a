"""`retrofit audit` names what a promoted image breaks, and HAProxy agrees on each."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from retrofit.verify.boot.certificates import authority
from tests.component.control_plane import haproxies, octavias
from tests.devcloud.octavia_api import Octavia
from tests.devcloud.places import server_program
from tests.integration.harness import RETENTION_AT_ONCE, CloudHarness

CACHE = Path(__file__).parents[2] / ".cache" / "language"
IN_DATABASE = Path(octavias.__file__).with_name("in_database.py")
RELEASE = "16.0.1"
"""The last version that writes all forms that were given up."""


def listener(protocol: str = "HTTP", **more: Any) -> dict[str, Any]:
    return {"name": protocol.lower(), "protocol": protocol, "protocol_port": 80, **more}


def pool(protocol: str = "HTTP", **monitor: Any) -> dict[str, Any]:
    given = {"name": "monitor", "delay": 5, "timeout": 3, "max_retries": 2, **monitor}
    body: dict[str, Any] = {
        "name": "pool",
        "protocol": protocol,
        "lb_algorithm": "ROUND_ROBIN",
        "members": [{"address": "192.0.2.20", "protocol_port": 8080}],
    }
    return {**body, **({"healthmonitor": given} if monitor else {})}


def serving(pool: dict[str, Any], protocol: str = "HTTP") -> dict[str, Any]:
    return {"listeners": [listener(protocol, default_pool=pool)]}


OLD = {"type": "HTTP", "http_version": 1.0}
REDIRECT = {
    "name": "to-pool",
    "action": "REDIRECT_TO_POOL",
    "redirect_pool": pool(**OLD) | {"name": "api"},
    "rules": [{"type": "PATH", "compare_type": "STARTS_WITH", "value": "/api"}],
}
BREAK = {
    "http-1.0": serving(pool(**OLD)),
    "https-1.1-with-host": serving(
        pool(type="HTTP", http_version=1.1, domain_name="www.example.org")
    ),
    "behind-a-policy": {
        "listeners": [listener(default_pool=pool(), l7policies=[REDIRECT])],
    },
    "metrics": {"listeners": [listener("PROMETHEUS")]},
}
LIVE = {
    "without-monitor": serving(pool()),
    "http-without-version": serving(pool(type="HTTP", url_path="/health")),
    "tcp": serving(pool("TCP", type="TCP"), "TCP"),
    "ping": serving(pool(type="PING")),
    "monitor-off": serving(pool(**OLD, admin_state_up=False)),
    "listener-off": {
        "listeners": [
            listener(default_pool=pool(**OLD), admin_state_up=False),
            listener("TCP", protocol_port=81, default_pool=pool("TCP") | {"name": "other"}),
        ]
    },
    "pool-of-nobody": {
        "listeners": [listener(default_pool=pool())],
        "pools": [pool(**OLD) | {"name": "spare"}],
    },
}


def broken(document: Any) -> set[str]:
    assert all(each["certain"] for each in document["breaks"])
    return {each["name"] for each in document["breaks"]}


def rendered(database: str) -> dict[str, str]:
    """Configurations of all load balancers in the database, by the code of RELEASE."""
    code = octavias.unpacked(RELEASE, CACHE / "octavia")
    answered = subprocess.run(
        [server_program("python"), "-P", IN_DATABASE, database, "3.0.11"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(code)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert answered.returncode == 0, answered.stderr
    texts: dict[str, str] = json.loads(answered.stdout)
    return texts


def refused(texts: dict[str, str], names: dict[str, str]) -> Iterable[str]:
    """Yield the load balancers whose configuration HAProxy 3.0 of trixie refuses."""
    root, pem = haproxies.unpacked("trixie", CACHE / "debian"), authority("load balancer").pem
    assert haproxies.haproxy_version(root).startswith("3.0.")
    for name, load_balancer in names.items():
        text = texts[load_balancer]
        peer = re.search(r"^\s*peer (\S+) ", text, re.MULTILINE)
        if haproxies.refusal(root, text, pem=pem, peer=peer[1] if peer else "none") is not None:
            yield name


@pytest.fixture
def balanced(
    harness: CloudHarness, running_octavia: Octavia
) -> tuple[CloudHarness, dict[str, str]]:
    """A cloud with load balancers of every kind, on a promoted image with HAProxy 3.0."""
    harness.toml = f'{RETENTION_AT_ONCE}[octavia]\ncloud = "demo-admin"\nrelease = "{RELEASE}"\n'
    harness.promoted("20260911", days=1, haproxy_version="3.0.11", amphora_agent_version="16.0.0")
    return harness, running_octavia.create_load_balancers(BREAK | LIVE)


def test_an_audit_names_the_load_balancers_that_break_and_no_others(
    balanced: tuple[CloudHarness, dict[str, str]],
) -> None:
    harness, _ = balanced
    assert broken(harness.read("audit")) == set(BREAK)
    (metrics,) = [each for each in harness.read("audit")["breaks"] if each["name"] == "metrics"]
    assert metrics["kinds"] == ["prometheus"]
    assert "a listener PROMETHEUS" in metrics["why"]
    assert "unknown option 'http-use-htx'" in metrics["why"]
    harness.toml = harness.toml.replace(RELEASE, "2025.2")
    assert harness.read("audit")["breaks"] == []


@pytest.mark.slow
@pytest.mark.root
def test_haproxy_refuses_what_the_audit_names_and_takes_the_rest(
    balanced: tuple[CloudHarness, dict[str, str]], running_octavia: Octavia
) -> None:
    harness, names = balanced
    found = set(refused(rendered(running_octavia.database), names))
    print(f"\nrefused by HAProxy: {sorted(found)}; taken: {sorted(names.keys() - found)}")
    assert found == set(BREAK) == broken(harness.read("audit"))
