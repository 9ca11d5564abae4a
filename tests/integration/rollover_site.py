"""Load balancers of a real Octavia, and what rollovers ask of it, counted on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.devcloud.fixtures import Devcloud
from tests.devcloud.fronts import Front, Handler
from tests.devcloud.octavia_api import Octavia
from tests.integration.harness import NOT_FRESH, RETENTION_AT_ONCE, CloudHarness

AT_ONCE = {
    "soak": 0,
    "pause": 0,
    "canary_soak": 0,
    "older_than": 0,
    "settle_timeout": 20,
    "outages": "always",
}
PAIR = json.dumps({"loadbalancer_topology": "ACTIVE_STANDBY"})


def toml_of(**settings: Any) -> str:
    """A configuration whose rollovers wait for nothing, but for what is given."""
    chosen = {**AT_ONCE, **settings}
    lines = [f"{name} = {json.dumps(value)}" for name, value in chosen.items()]
    octavia = '[octavia]\ncloud = "demo-admin"\n'
    return "\n".join([RETENTION_AT_ONCE, octavia, "[rollover]", *lines, ""])


@dataclass(kw_only=True)
class RolloverSite:
    """A cloud with load balancers; the catalog names a proxy that counts what Octavia is asked."""

    harness: CloudHarness
    octavia: Octavia
    front: Front
    pair: str = ""
    load_balancers: dict[str, str] = field(default_factory=dict)
    """Their ids, by name."""

    def settings(self, **rollover: Any) -> None:
        """Configure the machine anew."""
        self.harness.freshness_toml = NOT_FRESH
        self.harness.toml = toml_of(**rollover)

    def build(self, singles: int, pairs: int, *, listeners: bool = True) -> None:
        """Have Octavia build load balancers, every second one with a listener."""
        if pairs and not self.pair:
            self.pair = self.octavia.create_flavor("pair", PAIR)
        bodies: dict[str, dict[str, Any]] = {}
        for number in range(singles + pairs):
            kind = "single" if number < singles else "pair"
            body: dict[str, Any] = {} if kind == "single" else {"flavor_id": self.pair}
            if listeners and number % 2 == 0:
                body["listeners"] = [{"protocol": "HTTP", "protocol_port": 80, "name": "web"}]
            bodies[f"{kind}-{number}"] = body
        self.load_balancers |= self.octavia.create_load_balancers(bodies)

    def promote(self, version: str, *, days: float = 0.01) -> str:
        """Promote a new image."""
        image = self.harness.amphora(version, days=days)
        self.harness.act("promote", image, "--yes")
        return image

    def roll(self, *words: str, exit_code: int | None = 0) -> Any:
        """Roll over, and return the report."""
        answer = self.harness.retrofit(
            "rollover", "--yes", "-o", "json", *words, exit_code=exit_code
        )
        return answer.document["targets"][0] if "targets" in answer.document else answer.document

    def images(self) -> dict[str, set[str | None]]:
        """The images that each load balancer runs on, by name."""
        names = {load_balancer: name for name, load_balancer in self.load_balancers.items()}
        url = f"{self.octavia.url}/v2/octavia/amphorae"
        found: dict[str, set[str | None]] = {name: set() for name in self.load_balancers}
        for each in self.octavia.admin.get(url).json()["amphorae"]:
            if each["loadbalancer_id"] in names and each["status"] == "ALLOCATED":
                found[names[each["loadbalancer_id"]]].add(each["image_id"])
        return found

    def accepted(self) -> Counter[str]:
        """How often Octavia accepted a failover, by name of the load balancer."""
        names = {load_balancer: name for name, load_balancer in self.load_balancers.items()}
        return Counter(
            names.get(asked.path.split("/")[-2], asked.path)
            for asked, status in self.front.answered
            if asked.method == "PUT" and asked.path.endswith("/failover") and status == 202
        )

    def order(self) -> list[str]:
        """The load balancers that were asked to fail over, in order."""
        names = {load_balancer: name for name, load_balancer in self.load_balancers.items()}
        return [
            names[asked.path.split("/")[-2]]
            for asked in self.front.asked
            if asked.method == "PUT" and asked.path.endswith("/failover")
        ]


@contextmanager
def counted(octavia: Octavia) -> Iterator[Front]:
    """Have the catalog name a front before Octavia, for the length of the block."""
    with Front(behind=octavia.url).serving() as front:
        octavia.unregister()
        octavia.register(front.url)
        yield front


@contextmanager
def rollover_site(
    devcloud: Devcloud, harness: CloudHarness, *, conf_extra: str = ""
) -> Iterator[RolloverSite]:
    """An Octavia of its own whose amphorae send heartbeats, for the length of the block."""
    octavia = Octavia(
        cloud=devcloud.running,
        admin=devcloud.session(devcloud.admin_cloud),
        heartbeats=True,
        conf_extra=conf_extra,
    )
    try:
        octavia.start()
        octavia.clear()
        octavia.register()
        with counted(octavia) as front:
            site = RolloverSite(harness=harness, octavia=octavia, front=front)
            site.settings()
            yield site
    finally:
        octavia.stop()
        octavia.unregister()


def meeting(site: RolloverSite, answers: dict[str, Callable[[Handler], bool]]) -> None:
    """Have a function meet the first failover that is asked of a load balancer, by its name.

    It answers in Octavia's place where it returns True.
    """
    left = dict(answers)

    def meet(handler: Handler) -> bool:
        asked = handler.asked
        if asked.method != "PUT" or not asked.path.endswith("/failover"):
            return False
        names = {load_balancer: name for name, load_balancer in site.load_balancers.items()}
        act = left.pop(names[asked.path.split("/")[-2]], None)
        return act is not None and act(handler)

    site.front.meet = meet
