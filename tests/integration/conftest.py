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
