"""The charm's action with a real build: nothing but Juju's tools is a double."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.configuration import toml
from tests.e2e.leftovers import loop_devices, mounts
from tests.e2e.real_builds import real_builds
from tests.integration import juju_tools
from tests.integration.juju_tools import JujuTools

BUILD_SECONDS = 3600


@pytest.mark.slow
def test_action_builds_verifies_and_promotes(
    clean_glance: Any,
    stock_image: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(juju_tools, "PATIENCE", BUILD_SECONDS)
    devcloud = clean_glance
    config = tmp_path / "retrofit.toml"
    config.write_text(toml(real_builds(devcloud, tmp_path)))
    source = devcloud.plant(
        stock_image("noble"),
        cloud=devcloud.sync_cloud,
        product_name="com.ubuntu.cloud:server:24.04:amd64",
        version_name="20260911",
        item_name="disk1.img",
        os_distro="ubuntu",
        os_version="24.04",
        architecture="x86_64",
    )
    juju = JujuTools(directory=tmp_path / "tools", environment={"RETROFIT_CONFIG": str(config)})
    told = juju.run("retrofit-image", source_image=source, force=False)
    assert (told.exit_code, told.failed) == (0, None)
    assert (told.results["outcome"], told.results["source-image"]) == ("published", source)
    assert devcloud.octavia_answer() == told.results["image-id"]
    assert told.results["verification"].startswith("offline: ")
    assert "failed" not in told.results["verification"]
    for phrase in ("examining the source", "writing the image", "image promoted"):
        assert any(line.startswith(phrase) for line in told.log), told.log
    assert loop_devices(tmp_path) == mounts(tmp_path) == []
