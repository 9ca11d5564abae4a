"""One world that 0.1.0 made, for all tests of the upgrade."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retrofit.config.file import load
from tests.configuration import toml
from tests.devcloud.files import make_tiny
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.octavia import ImageManager
from tests.integration.harness import NOT_FRESH, CloudHarness
from tests.integration.receiver import Receiver, receiving
from tests.upgrade.release import Release, release_0_1_0
from tests.upgrade.world import (
    TAGS,
    OldMachine,
    World,
    made_by_0_1_0,
    settings_of_0_1_0,
    settings_of_today,
)


@pytest.fixture(scope="session")
def release() -> Release:
    """0.1.0 with its own packages."""
    return release_0_1_0()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A webhook that refuses all as long as 0.1.0 runs."""
    with receiving() as receiver:
        receiver.behave = 503
        yield receiver


@pytest.fixture(scope="module")
def old(
    release: Release,
    devcloud: Devcloud,
    receiver: Receiver,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """What 0.1.0 left, and this version with the settings renamed that were renamed."""
    directory = tmp_path_factory.mktemp("upgrade")
    before = settings_of_0_1_0(receiver.url)
    devcloud.delete_all_images()
    with ImageManager(devcloud.running) as manager:
        harness = CloudHarness(
            site=devcloud,
            manager=manager,
            directory=directory,
            make_image=lambda path: make_tiny(path, mark=str(path)),
            toml=toml(before),
            tags=TAGS,
            freshness_toml="",
        )
        config = harness.config.rename(directory / "retrofit-0.1.0.toml")
        harness.toml = toml(settings_of_today(before))
        harness.freshness_toml = NOT_FRESH
        machine = OldMachine(release=release, harness=harness, config=config)
        try:
            yield made_by_0_1_0(machine, load(harness.config))
        finally:
            machine.end()
    devcloud.delete_all_images()
