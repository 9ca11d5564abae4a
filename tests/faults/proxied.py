"""A stage whose command line reaches the cloud through the proxy while a test wants it to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from tests.faults.proxy import Proxy
from tests.integration.stage import Stage

REGION = "RegionFaulty"
TIMEOUT = 2


@dataclass(frozen=True, kw_only=True)
class Detour:
    """A stage, and a proxy that may stand between it and the cloud."""

    stage: Stage
    proxy: Proxy

    @contextmanager
    def through(self, *, timeout: int = TIMEOUT) -> Iterator[Stage]:
        """Point the command line at the proxy for the length of the block.

        `timeout` is the cloud.timeout in seconds. What the tests themselves ask goes straight on.
        """
        stage = self.stage
        was = (stage.clouds_yaml, stage.cloud_toml)
        clouds: dict[str, Any] = yaml.safe_load(stage.site.clouds_yaml.read_text())
        for entry in clouds["clouds"].values():
            entry["auth"]["auth_url"] = f"{self.proxy.keystone_url}/v3"
            entry["region_name"] = REGION
        stage.clouds_yaml = stage.directory / "clouds-faulty.yaml"
        stage.clouds_yaml.write_text(yaml.safe_dump(clouds))
        stage.clouds_yaml.chmod(0o600)
        stage.cloud_toml = f"timeout = {timeout}"
        try:
            yield stage
        finally:
            stage.clouds_yaml, stage.cloud_toml = was
