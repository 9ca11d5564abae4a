"""A harness whose command line reaches the cloud through the proxy while a test wants it to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from tests.faults.proxy import Proxy
from tests.integration.harness import CloudHarness

REGION = "RegionFaulty"
TIMEOUT = 2


@dataclass(frozen=True, kw_only=True)
class Proxied:
    """A harness, and a proxy that may stand between it and the cloud."""

    harness: CloudHarness
    proxy: Proxy

    @contextmanager
    def through(self, *, timeout: int = TIMEOUT) -> Iterator[CloudHarness]:
        """Point the command line at the proxy for the length of the block.

        `timeout` is the cloud.timeout in seconds. What the tests themselves ask goes straight on.
        """
        harness = self.harness
        was = (harness.clouds_yaml, harness.cloud_toml)
        clouds: dict[str, Any] = yaml.safe_load(harness.site.clouds_yaml.read_text())
        for entry in clouds["clouds"].values():
            entry["auth"]["auth_url"] = f"{self.proxy.keystone_url}/v3"
            entry["region_name"] = REGION
        harness.clouds_yaml = harness.directory / "clouds-faulty.yaml"
        harness.clouds_yaml.write_text(yaml.safe_dump(clouds))
        harness.clouds_yaml.chmod(0o600)
        harness.cloud_toml = f"timeout = {timeout}"
        try:
            yield harness
        finally:
            harness.clouds_yaml, harness.cloud_toml = was
