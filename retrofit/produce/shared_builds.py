"""Images that one run built and verified, and that later runs of the same command publish too.

Several regions with the same recipe get one build: it is published to each of them, and promoted
in each by itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from retrofit.config import Target, VerifySettings
from retrofit.dib import recipe_for
from retrofit.errors import ConfigError
from retrofit.interrupts import uninterrupted
from retrofit.model import BuiltImage, Source, Verdict
from retrofit.places import make_place
from retrofit.trust import Trust

log = structlog.get_logger(__name__)

DIRECTORY = ".shelf"
LOCK = "lock"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a build and its verification were asked for: the same job has the same result."""

    product: str
    version: str
    content_hash: str
    architecture: str
    recipe: str
    max_disk: int | None
    allow_os_mismatch: bool
    verification: VerifySettings
    trust: Trust


@dataclass(frozen=True, kw_only=True)
class Made:
    """A verified image, the digests of the source it was made from, and the run that made it."""

    built: BuiltImage
    verdict: Verdict
    source_hashes: Mapping[str, str]
    source_size: int
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
        allow_os_mismatch=target.source.allow_os_mismatch,
        verification=target.verify,
        trust=trust,
    )


@contextmanager
def shelf_for(targets: Sequence[Target], work: Path) -> Iterator[Shelf]:
    """Yield a shelf for runs of these targets; what is on it is deleted at the end."""
    # One run alone shares with nobody, and hashes its recipe's elements itself.
    recipes = _recipes(targets) if len(targets) > 1 else []
    root = work / DIRECTORY
    _sweep(root)
    if max(Counter(recipes).values(), default=0) < 2:
        yield Shelf()  # nobody to share with
        return
    with ExitStack() as undo:
        # An interruption in between would leave what nobody knows of.
        with uninterrupted():
            directory = _locked_directory(root, undo)
        yield Shelf() if directory is None else Shelf(directory, recipes)


def _locked_directory(root: Path, undo: ExitStack) -> Path | None:
    """Make a directory and hold its lock, both until `undo`; None where that cannot be.

    The death of its holder frees the lock: that tells a dead run's shelf from one in use.
    """
    try:
        make_place(root)
        with _alone_in(root):
            directory = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=root))
            lock = undo.enter_context((directory / LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        log.warning("no shelf to share images on", error=str(error))
        return None
    undo.callback(_remove, directory)
    return directory


def _remove(directory: Path) -> None:
    with uninterrupted():
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Be the only one that makes or looks for shelves, for the length of the block.

    None is without its lock meanwhile but those of the dead. Raises OSError.
    """
    opened = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _recipes(targets: Iterable[Target]) -> list[str]:
    digests = []
    for target in targets:
        try:
            digests.append(recipe_for(target.build).digest)
        except ConfigError:  # its own run will say so, and stop no other
            continue
    return digests


def _sweep(root: Path) -> None:
    with ExitStack() as locks:
        for directory in _abandoned(root, locks):
            try:
                shutil.rmtree(directory)
            except OSError:
                continue  # for the next run to try again
            log.info("leftover of a dead run removed", what=str(directory))


def _abandoned(root: Path, locks: ExitStack) -> list[Path]:
    """Return the shelves of dead runs, locked until the end of `locks`: nobody else sweeps them."""
    found = []
    try:
        with _alone_in(root):
            for directory in root.iterdir():
                try:
                    lock = locks.enter_context((directory / LOCK).open("a"))
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue  # in use
                found.append(directory)
    except OSError:  # there are no shelves
        return []
    return found
