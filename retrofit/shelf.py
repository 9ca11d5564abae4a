"""Images that one run built and verified, and that later runs of the same command publish too.

Several regions with the same recipe get one build: it is published to each of them, and promoted
in each by itself.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from retrofit.config import Target, VerifySettings
from retrofit.dib import recipe_for
from retrofit.errors import ConfigError
from retrofit.model import BuiltImage, Source, Verdict
from retrofit.trust import Trust

log = structlog.get_logger(__name__)

DIRECTORY = ".shelf"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a build and its verification were asked for: the same job has the same result."""

    product: str
    version: str
    content_hash: str
    architecture: str
    recipe: str
    max_disk: int | None
    verification: VerifySettings
    trust: Trust


@dataclass(frozen=True, kw_only=True)
class Made:
    """A verified image, the digests of the source it was made from, and the run that made it."""

    built: BuiltImage
    verdict: Verdict
    source_hashes: Mapping[str, str]
    run_id: str


class Shelf:
    """Keeps what is made as long as another run will ask for it."""

    def __init__(self, directory: Path | None = None, recipes: Iterable[str] = ()) -> None:
        self._directory = directory
        self._runs_to_come = Counter(recipes)
        self._made: dict[Job, Made] = {}

    def begin(self, recipe: str) -> None:
        """Tell that one of the runs with this recipe has come."""
        self._runs_to_come[recipe] -= 1

    def take(self, job: Job) -> Made | None:
        """Return what an earlier run made of the same job, if it still is there."""
        made = self._made.get(job)
        return made if made is not None and made.built.path.is_file() else None

    def keep(self, job: Job, made: Made) -> Made:
        """Keep an image for the runs to come, if there will be any, and say where it is now."""
        if self._directory is None or self._runs_to_come[job.recipe] < 1:
            return made
        path = self._directory / f"{len(self._made)}.{made.built.disk_format}"
        shutil.move(made.built.path, path)
        kept = replace(made, built=replace(made.built, path=path))
        self._made[job] = kept
        return kept


def job_of(source: Source, target: Target, recipe: str, *, trust: Trust) -> Job:
    """Name the job that a target asks for, its source trusted so far."""
    return Job(
        product=source.product,
        version=source.version,
        content_hash=source.content_hash,
        architecture=source.architecture,
        recipe=recipe,
        max_disk=target.build.max_disk,
        verification=target.verify,
        trust=trust,
    )


@contextmanager
def shelf_for(targets: Iterable[Target], work: Path) -> Iterator[Shelf]:
    """Yield a shelf for runs of these targets; what is on it is deleted at the end."""
    recipes = _recipes(targets)
    root = work / DIRECTORY
    _sweep(root)
    directory = root / f"{os.getpid()}-{secrets.token_hex(3)}"
    if max(Counter(recipes).values(), default=0) < 2 or not _made(directory):
        yield Shelf()  # nobody to share with, or no room: every run makes its own
        return
    try:
        with (directory / "lock").open("w") as lock:
            # Its death frees it: what tells a dead run's shelf from one in use.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Shelf(directory, recipes)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _made(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True)
    except OSError:
        return False
    return True


def _recipes(targets: Iterable[Target]) -> list[str]:
    digests = []
    for target in targets:
        try:
            digests.append(recipe_for(target.build).digest)
        except ConfigError:  # its own run will say so, and stop no other
            continue
    return digests


def _sweep(root: Path) -> None:
    for directory in root.glob("*-*"):
        try:
            with (directory / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory)
        except OSError:
            continue  # in use, just being made, or for the next run to try again
        log.info("leftover of a dead run removed", what=str(directory))
