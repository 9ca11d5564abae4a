"""Images that one run built and verified, for other runs of the same command to publish as well.

Several regions with the same recipe get one build: it is published to each of them, and promoted
in each by itself.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from retrofit.build.recipe import recipe_for
from retrofit.config import OctaviaSettings, Target, VerifySettings
from retrofit.errors import ConfigError
from retrofit.model import BuiltImage, Source, Verdict
from retrofit.source.trust import Trust
from retrofit.system.directories import make_directory
from retrofit.system.signals import uninterrupted

log = structlog.get_logger(__name__)

DIRECTORY = ".shared-builds"
OLD_DIRECTORY = ".shelf"
"""The name in 0.1.0, whose dead runs may have left images there."""
LOCK = "lock"
NAMES = re.compile(r"([0-9]+-|unfinished\.)[a-z0-9_]+")
"""Names of our directories, present and former: a process, and what `tempfile` adds."""


@dataclass(frozen=True, kw_only=True)
class BuildKey:
    """Everything that a verified image depends on: two builds of one key are worth the same."""

    product: str
    version: str
    content_hash: str
    architecture: str
    recipe: str
    max_disk: int | None
    allow_os_mismatch: bool
    verification: VerifySettings
    octavia: OctaviaSettings
    trust: Trust

    @classmethod
    def of(cls, source: Source, target: Target, recipe: str, *, trust: Trust) -> BuildKey:
        """Return the key of what a target needs now; `trust` is how far its source is trusted."""
        return cls(
            product=source.product,
            version=source.version,
            content_hash=source.content_hash,
            architecture=source.architecture,
            recipe=recipe,
            max_disk=target.build.max_disk,
            allow_os_mismatch=target.source.allow_os_mismatch,
            verification=target.verify,
            octavia=target.octavia,
            trust=trust,
        )


@dataclass(frozen=True, kw_only=True)
class ProducedImage:
    """A verified image file: the digests of its source, and the run that built it.

    `evidence` is the packed evidence of its packages; None where there is none, and the run noted
    why.
    """

    built: BuiltImage
    verdict: Verdict
    source_hashes: Mapping[str, str]
    source_size: int
    run_id: str
    evidence: bytes | None = None


class SharedBuilds:
    """The images that the runs of one command share; without a directory it keeps none.

    `recipes` are the digests of those that several targets have: images of others are not kept.
    """

    def __init__(self, directory: Path | None = None, recipes: Iterable[str] = ()) -> None:
        self._directory = directory
        self._recipes = frozenset(recipes)
        self._images: dict[BuildKey, ProducedImage] = {}

    def find(self, key: BuildKey) -> ProducedImage | None:
        """Return the image that was kept under a key; None where its file is gone."""
        image = self._images.get(key)
        return image if image is not None and image.built.path.is_file() else None

    def keep(self, key: BuildKey, image: ProducedImage) -> ProducedImage:
        """Keep an image where another target may need it, and return it with its present path."""
        if self._directory is None or key.recipe not in self._recipes:
            return image
        path = self._directory / f"{len(self._images)}.{image.built.disk_format}"
        shutil.move(image.built.path, path)
        kept = replace(image, built=replace(image.built, path=path))
        self._images[key] = kept
        return kept


@contextmanager
def shared_builds(targets: Sequence[Target], work: Path) -> Iterator[SharedBuilds]:
    """Yield what the runs of these targets share; its files are deleted at the end."""
    # One run alone shares with nobody, and hashes its recipe's elements itself.
    counts = Counter(_recipes(targets) if len(targets) > 1 else ())
    shared = [recipe for recipe, targets_with_it in counts.items() if targets_with_it > 1]
    root = work / DIRECTORY
    for each in (root, work / OLD_DIRECTORY):
        _remove_leftovers(each)
    if not shared:
        yield SharedBuilds()
        return
    with ExitStack() as undo:
        # An interruption in between would leave a directory that is never removed.
        with uninterrupted():
            directory = _locked_directory(root, undo)
        yield SharedBuilds(directory, shared)


def _locked_directory(root: Path, undo: ExitStack) -> Path | None:
    """Make a directory and hold its lock, both until `undo`; None where that cannot be.

    The death of its holder frees the lock: what a dead run left and what is in use differ by it.
    """
    try:
        make_directory(root)
        with _alone_in(root):
            directory = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=root))
            lock = undo.enter_context((directory / LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        log.warning("builds not shared", error=str(error))
        return None
    undo.callback(_remove, directory)
    return directory


def _remove(directory: Path) -> None:
    """Remove one of our directories, the lock last: a later run knows it by that."""
    with uninterrupted(), suppress(OSError):
        for entry in directory.iterdir():
            if entry.name != LOCK:
                _remove_entry(entry)
        (directory / LOCK).unlink(missing_ok=True)
        directory.rmdir()


def _remove_entry(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


@contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Be the only one that makes or looks for such directories, for the length of the block.

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
        except ConfigError:  # its own run reports that, and stops no other
            continue
    return digests


def _remove_leftovers(root: Path) -> None:
    with ExitStack() as locks:
        for directory in _abandoned(root, locks):
            _remove(directory)
            if not directory.exists():  # else the next run tries again
                log.info("leftover of a dead run removed", what=str(directory))


def _abandoned(root: Path, locks: ExitStack) -> list[Path]:
    """Return what dead runs left, locked until the end of `locks`: nobody else removes it.

    It has a name of our form and a lock, or nothing at all in it: its run died before.
    """
    found = []
    try:
        with _alone_in(root):
            for directory in root.iterdir():
                if not NAMES.fullmatch(directory.name) or directory.is_symlink():
                    continue
                try:
                    if not any(directory.iterdir()):
                        directory.rmdir()
                        continue
                    lock = locks.enter_context((directory / LOCK).open("r+"))
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue  # in use, or not ours
                found.append(directory)
    except OSError:  # there are none
        return []
    return found
