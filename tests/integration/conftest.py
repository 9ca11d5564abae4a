"""Fixtures of the tests against a real Keystone and Glance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.devcloud.fixtures import Devcloud
from tests.devcloud.octavia import ImageManager
from tests.integration.stage import Stage


@pytest.fixture(scope="session")
def image_manager(devcloud: Devcloud) -> Iterator[ImageManager]:
    """Octavia's own image driver, asking the session's Glance."""
    with ImageManager(devcloud.running) as manager:
        yield manager


@pytest.fixture
def stage(
    clean_glance: Devcloud,
    image_manager: ImageManager,
    tmp_path: Path,
    tiny_image: Callable[..., Path],
) -> Stage:
    """An empty Glance, and the command line pointed at it."""
    return Stage(
        site=clean_glance, manager=image_manager, directory=tmp_path, make_image=tiny_image
    )


@pytest.fixture
def publish(clean_glance: Devcloud, tiny_image: Callable[..., Path]) -> Callable[[str], str]:
    """Put a stock image into Glance, as the synchroniser does."""

    def publish(version: str) -> str:
        return str(
            clean_glance.plant(
                tiny_image(f"{version}.qcow2"),
                product_name="com.ubuntu.cloud:server:24.04:amd64",
                version_name=version,
                item_name="disk1.img",
                os_distro="ubuntu",
                os_version="24.04",
                architecture="x86_64",
            )
        )

    return publish
