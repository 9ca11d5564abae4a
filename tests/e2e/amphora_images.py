"""Amphora images built by the project itself, once per checkout and recipe."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from retrofit.build.build import build
from retrofit.build.recipe import recipe_for
from retrofit.build.request import BuildRequest
from retrofit.config import BuildSettings
from tests.devcloud import stock
from tests.devcloud.places import CACHE, locked
from tests.e2e.package_access import ca_bundle

Agent = Literal["distro", "pypi"]
JAMMYS_AGENT = "10.1.1"
CONSTRAINTS = {JAMMYS_AGENT: Path(__file__).with_name("octavia-10-constraints.txt")}


@contextmanager
def cached_image(
    agent: Agent, layout: stock.Layout, *, version: str | None = None
) -> Iterator[Path]:
    """Hold the place in the cache of an image with these settings; what is outdated goes.

    Who finds nothing there puts an image there, or leaves it to the next; others wait meanwhile.
    """
    source, recipe = stock.make(layout), recipe_for(build_settings(agent, version=version))
    agent_name = f"{agent}{version or ''}"
    cache = CACHE / "amphora"
    key = recipe.digest.rpartition(":")[2][:12]
    image = cache / f"{agent_name}-{source.stem}-{key}.qcow2"
    with locked(cache / f"{agent_name}-{layout}.lock"):
        if not image.exists():
            for outdated in cache.glob(f"{agent_name}-{layout}-*"):
                shutil.rmtree(outdated) if outdated.is_dir() else outdated.unlink()
        yield image


def build_settings(agent: Agent, *, version: str | None = None) -> BuildSettings:
    """Return the settings with which the tests build: the host's CA bundle, and else defaults.

    `version` is of the agent, from PyPI; an old one needs libraries of its time.
    """
    constraints = None if version is None else CONSTRAINTS.get(version)
    return BuildSettings.model_validate(
        {
            "agent": agent,
            "ca_bundle": ca_bundle(),
            "agent_version": version,
            "agent_constraints": constraints,
        }
    )


def amphora_image(agent: Agent, layout: stock.Layout, *, version: str | None = None) -> Path:
    """Return an amphora image as qcow2, built now unless the cache has it; never write to it."""
    settings = build_settings(agent, version=version)
    with cached_image(agent, layout, version=version) as image:
        if not image.exists():
            source, recipe = stock.make(layout), recipe_for(settings)
            work = image.with_name(f"{image.stem}-work")
            try:
                built = build(
                    BuildRequest(
                        source=source,
                        recipe=recipe,
                        settings=settings,
                        work_dir=work / "build",
                        cache_dir=CACHE / "builds",
                        log_file=image.with_name(f"{image.stem}-build.log"),
                        allow_os_mismatch=True,
                    )
                )
                built.path.rename(image)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return image
