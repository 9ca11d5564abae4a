"""Fixtures of the tests against a real Keystone and Glance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from retrofit.system.process import CommandError
from retrofit.verify.boot import kvm
from retrofit.verify.boot.kvm import start
from retrofit.verify.boot.machine import Platform
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.octavia import ImageManager
from tests.integration.harness import CloudHarness


@pytest.fixture(scope="session")
def image_manager(devcloud: Devcloud) -> Iterator[ImageManager]:
    """Octavia's own image driver, asking the session's Glance."""
    with ImageManager(devcloud.running) as manager:
        yield manager


@cache
def _of_kvm(platform: Platform) -> str | CommandError | None:
    try:
        return start(platform)
    except CommandError as error:
        return error


@pytest.fixture(autouse=True)
def kvm_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try once what KVM is worth here, which takes seconds; each run would before it builds."""

    def known(platform: Platform) -> str | None:
        found = _of_kvm(platform)
        if isinstance(found, CommandError):
            raise found
        return found

    monkeypatch.setattr(kvm, "start", known)


@pytest.fixture
def harness(
    clean_glance: Devcloud,
    image_manager: ImageManager,
    tmp_path: Path,
    tiny_image: Callable[..., Path],
) -> CloudHarness:
    """An empty Glance, and the command line pointed at it."""
    return CloudHarness(
        site=clean_glance, manager=image_manager, directory=tmp_path, make_image=tiny_image
    )


@pytest.fixture
def harness_at(
    tmp_path: Path, tiny_image: Callable[..., Path]
) -> Callable[[Devcloud], CloudHarness]:
    """The harness for a cloud that a test made itself."""

    def at(site: Devcloud) -> CloudHarness:
        return CloudHarness(site=site, manager=None, directory=tmp_path, make_image=tiny_image)

    return at
