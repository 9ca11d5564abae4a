"""What a target needs to build here for real: sources, certificates, where files go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.devcloud.fixtures import Devcloud
from tests.devcloud.places import CACHE
from tests.e2e.package_access import ca_bundle

SERVICE_SETTINGS = """\
[cloud]
name = "demo"
[source]
series = ["noble"]
allow_os_mismatch = true
[verify]
level = "offline"
[publish]
retire_after = 0
"""
"""What an operator's file says where retrofit is installed for good: paths are the defaults."""


def real_builds(
    devcloud: Devcloud, root: Path, **sections: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return a configuration for stock images of Debian, `root` being its machine's directory.

    Builds are verified offline, unless `sections`, which replace others, say more.
    """
    bundle = ca_bundle()
    paths = {key: root / key for key in ("state", "work", "logs")}
    return {
        "cloud": {"name": devcloud.cloud, "clouds_yaml": devcloud.clouds_yaml},
        "source": {"series": ["noble"], "allow_os_mismatch": True},
        "build": {"ca_bundle": bundle} if bundle else {},
        "verify": {"level": "offline"},
        "paths": {**paths, "cache": CACHE / "builds"},
        **sections,
    }
