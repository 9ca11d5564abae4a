"""A cloud without any synchroniser: a real build from what a signed mirror serves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.configuration import toml
from tests.devcloud.faults import serving
from tests.devcloud.mirror import Mirror
from tests.e2e.command import given
from tests.e2e.real_builds import real_builds


@pytest.mark.slow
def test_a_mirror_alone_becomes_the_promoted_amphora(
    devcloud: Any, clean_glance: None, stock_image: Callable[[str], Path], tmp_path: Path
) -> None:
    mirror = Mirror(root=tmp_path / "mirror")
    mirror.publish(stock_image("noble"), series="noble", serial="20260911")
    config = tmp_path / "retrofit.toml"
    with serving(mirror.root) as server:
        sections = {
            "source": {
                "origin": "simplestreams",
                "series": ["noble"],
                "allow_os_mismatch": True,
            },
            "mirror": {"url": server.url, "keyring": mirror.keyring},
            # Of its own: what is fetched stays in the cache.
            "paths": {key: tmp_path / key for key in ("state", "work", "logs", "cache")},
        }
        config.write_text(toml(real_builds(devcloud, tmp_path, **sections)))
        runs = []
        for _ in range(2):
            code, report, story = given(config, "run-once")
            assert code == 0, story
            runs.append(report)
    assert [run["outcome"] for run in runs] == ["published", "unchanged"]
    assert runs[0]["trust"] == "signed"
    assert len(server.ranges("*.img")) == 1
    images = devcloud.images()
    assert [image["id"] for image in images] == [runs[0]["image_id"]]
    assert images[0]["retrofit_source_id"].startswith(server.url)
    assert devcloud.octavia_answer() == images[0]["id"]
    # The build left the cached source as it was downloaded.
    (cached,) = (tmp_path / "cache" / "sources").glob("[0-9a-f]*")
    assert cached.name == images[0]["retrofit_source_sha256"]
    digest = subprocess.run(["sha256sum", cached], capture_output=True, text=True, check=True)
    assert digest.stdout.split()[0] == cached.name
