"""Fixtures of the fault tests: those of the integration tests, and a network that fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.devcloud import accounts
from tests.devcloud.fixtures import Devcloud
from tests.faults.proxied import REGION, Proxied
from tests.faults.proxy import Proxy, proxying
from tests.integration.conftest import harness, image_manager
from tests.integration.harness import CloudHarness

__all__ = ["faulty", "harness", "image_manager", "network"]


@pytest.fixture(scope="module")
def network(devcloud: Devcloud) -> Iterator[Proxy]:
    """A proxy before the session's cloud, in its catalog as a region of its own."""
    with proxying(devcloud.keystone_url, devcloud.glance_url) as proxy:
        accounts.register_region(devcloud.keystone_url, REGION, proxy.glance_url)
        try:
            yield proxy
        finally:
            accounts.unregister_region(devcloud.keystone_url, REGION)


@pytest.fixture
def faulty(network: Proxy, harness: CloudHarness) -> Iterator[Proxied]:
    """The harness, a proxy without faults yet, and the way to have one go through the other."""
    network.clear()
    yield Proxied(harness=harness, proxy=network)
    network.clear()
