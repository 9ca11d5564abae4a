"""A real build that is killed, whatever it is doing, loses nothing and leaves nothing for long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from retrofit.verify.verify import verify
from tests.e2e.package_access import ca_bundle
from tests.faults.builds import Builds
from tests.faults.kills import Blows
from tests.integration.harness import RETENTION_AT_ONCE, CloudHarness

SETTINGS = f"""{RETENTION_AT_ONCE}keep = 1
[source]
series = ["noble"]
allow_os_mismatch = true
[verify]
level = "offline"
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def builds(harness: CloudHarness, stock_image: Callable[[str], Path]) -> Builds:
    bundle = ca_bundle()
    harness.toml = SETTINGS + (f'[build]\nca_bundle = "{bundle}"\n' if bundle else "")
    return Builds(harness=harness, stock=stock_image("noble"), verify=verify, runs=1, patience=3600)


def test_real_build_that_is_killed_loses_nothing(builds: Builds) -> None:
    blows = Blows(builds=builds, in_a_row=(3, 4))
    blows.kill(10)
    blows.print_summary()
    assert blows.violations == []
