"""What has to be true right after a fault, and after one more run without."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retrofit.model import UNFINISHED
from tests.faults.machine import in_use, lying_about
from tests.integration.harness import TAG, CloudHarness

WHOLE = ("size", "os_hash_algo", "os_hash_value")
HALF_WRITTEN = re.compile(r"\.(tmp|part|partial)$|^\..*\.[0-9]+$")
"""Names that files have until they are whole."""


@dataclass(kw_only=True)
class Before:
    """What was promoted, and what else Glance held, when nothing had happened yet.

    Whoever takes something away after that on purpose takes it from here as well.
    """

    promoted: str | None
    images: dict[str, Any] = field(default_factory=dict)
    """As Glance showed them, by id."""


def before(harness: CloudHarness) -> Before:
    """Take down what a fault must not change."""
    return Before(promoted=harness.octavia(), images=harness.everything())


def violations(harness: CloudHarness, before: Before) -> list[str]:
    """Say what is wrong right after a fault, before anything heals; nothing where all is well."""
    now = harness.everything()
    return [*_of_the_promoted(harness, before, now), *_of_foreign_ones(harness, before, now)]


def left(harness: CloudHarness) -> list[str]:
    """Say what of a run that ended by itself, however, is still there; promotions apart."""
    return [
        *_of_unfinished_records(harness, harness.everything()),
        *in_use(harness),
        *lying_about(harness),
        *_of_the_files(harness),
    ]


def healed(harness: CloudHarness, before: Before) -> list[str]:
    """Say what a run without faults, which the caller has made, has left wrong."""
    now = harness.everything()
    return [
        *_of_the_promoted(harness, before, now),
        *_of_foreign_ones(harness, before, now),
        *_of_ours(harness, now),
        *left(harness),
        *_of_the_last_report(harness),
    ]


def _of_the_promoted(harness: CloudHarness, before: Before, now: dict[str, Any]) -> Iterator[str]:
    taken = harness.octavia()
    if taken is None:
        if before.promoted is not None:
            yield f"Octavia finds no image: {before.promoted} was promoted"
        return
    image = now[taken]
    if image["status"] != "active":
        yield f'image {taken} is promoted and "{image["status"]}"'
    if not image["size"]:
        yield f"image {taken} is promoted and empty"
    if taken == before.promoted:
        was = before.images.get(taken, image)
        for key in WHOLE:
            if image[key] != was[key]:
                yield f"image {taken} is promoted, its {key} was {was[key]} and is {image[key]}"
        return
    recorded = image.get("retrofit_image_hash")
    if recorded != f"{image['os_hash_algo']}:{image['os_hash_value']}":
        yield f"image {taken} is promoted and does not hold what its run built ({recorded})"
    if not image.get("retrofit_verified_at"):
        yield f"image {taken} is promoted and was never verified"


def _of_foreign_ones(harness: CloudHarness, before: Before, now: dict[str, Any]) -> Iterator[str]:
    for image_id, was in before.images.items():
        if _is_ours(harness, was):
            continue
        image = now.get(image_id)
        if image is None:
            yield f"image {image_id} is not ours and is gone"
            continue
        changed = sorted(key for key in was.keys() | image.keys() if was.get(key) != image.get(key))
        if changed:
            yield f"image {image_id} is not ours and has other {', '.join(changed)}"


def _of_ours(harness: CloudHarness, now: dict[str, Any]) -> Iterator[str]:
    ours = {key: image for key, image in now.items() if _is_ours(harness, image)}
    standing = sorted(key for key, image in ours.items() if TAG in image["tags"])
    if len(standing) != 1:
        yield f"{len(standing)} images are promoted: {', '.join(standing)}"
    for image_id, image in ours.items():
        if image["status"] in UNFINISHED:
            continue
        if TAG not in image["tags"] and not image.get("retrofit_promoted_at"):
            yield f"image {image_id} was never promoted and is left over"


def _of_unfinished_records(harness: CloudHarness, now: dict[str, Any]) -> Iterator[str]:
    for image_id, image in now.items():
        if _is_ours(harness, image) and image["status"] in UNFINISHED:
            yield f'image {image_id} was left "{image["status"]}"'


def _is_ours(harness: CloudHarness, image: dict[str, Any]) -> bool:
    return "retrofit_target" in image and image["owner"] == harness.project


def _of_the_files(harness: CloudHarness) -> Iterator[str]:
    for name in ("state", "cache", "logs"):
        for path in harness.path(name).rglob("*"):
            if HALF_WRITTEN.search(path.name):
                yield f"half-written: {path}"
    for path in harness.path("state").rglob("*.json"):
        yield from _unreadable(path)


def _of_the_last_report(harness: CloudHarness) -> Iterator[str]:
    # The ids of runs sort as the runs began.
    runs = sorted(path for path in harness.path("logs").iterdir() if path.is_dir())
    if not runs:
        yield f"{harness.path('logs')} tells of no run"
    else:
        yield from _unreadable(runs[-1] / "report.json")


def _unreadable(path: Path) -> Iterator[str]:
    try:
        json.loads(path.read_text())
    except (OSError, ValueError) as error:
        yield f"unreadable: {path}: {error}"
