"""Amphora images built by the project itself, once per checkout and recipe."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from retrofit.config import BuildSettings
from retrofit.dib import build, recipe_for
from tests.devcloud import stock
from tests.devcloud.places import CACHE, locked
from tests.e2e.package_access import ca_bundle

Agent = Literal["distro", "pypi"]


def build_settings(agent: Agent) -> BuildSettings:
    """Return the settings with which the tests build: the host's CA bundle, and else defaults."""
    return BuildSettings.model_validate({"agent": agent, "ca_bundle": ca_bundle()})


def amphora_image(agent: Agent, layout: stock.Layout) -> Path:
    """Return an amphora image as qcow2, built now unless the cache has it; never write to it."""
    source, settings = stock.make(layout), build_settings(agent)
    recipe = recipe_for(settings)
    cache = CACHE / "amphora"
    cache.mkdir(parents=True, exist_ok=True)
    key = recipe.digest.rpartition(":")[2][:12]
    image = cache / f"{agent}-{source.stem}-{key}.qcow2"
    with locked(cache / f"{agent}-{layout}.lock"):
        if not image.exists():
            for outdated in cache.glob(f"{agent}-{layout}-*"):
                shutil.rmtree(outdated) if outdated.is_dir() else outdated.unlink()
            work = cache / f"{agent}-{layout}-work"
            try:
                built = build(
                    source,
                    recipe=recipe,
                    settings=settings,
                    work_dir=work / "build",
                    cache_dir=CACHE / "builds",
                    log_file=cache / f"{agent}-{layout}-build.log",
                    allow_os_mismatch=True,
                )
                built.path.rename(image)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return image
