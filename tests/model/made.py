"""Who made an image, as the witness knows it from the calls."""

from __future__ import annotations

from dataclasses import dataclass

from retrofit.model import Image, version_key
from tests.model.installations import Installation, Site
from tests.model.processes import Process

SERIES = ("24.04", "22.04")
"""Releases as `source.series` prefers them by default."""


@dataclass(frozen=True, kw_only=True)
class Old:
    """An installation of 0.1.0: what its tag and target name were when it made an image."""

    tag: str
    target_name: str


@dataclass(kw_only=True)
class Made:
    """How an image came to be. `by` is None where a stranger made it."""

    by: Installation | Old | None
    how: str
    site: Site | None = None
    process: Process | None = None
    trust: int = 0
    level: int = 0
    copy_of: str | None = None
    """The image whose properties it has, where a stranger made it."""
    old: Old | None = None
    """The installation of 0.1.0 that made it, before it was handed over."""
    rejected: int | None = None
    """With which event of the world a person went back from it, by a command of retrofit."""


def rank(image: Image) -> tuple[int, tuple[int, ...]]:
    """Order images by their source as an operator prefers them: by series, then version."""
    product = (image.property("source_product_name") or ":::").split(":")
    release = product[2] if len(product) > 2 else ""
    series = -SERIES.index(release) if release in SERIES else -len(SERIES)
    return series, version_key(image.property("source_version_name") or "")
