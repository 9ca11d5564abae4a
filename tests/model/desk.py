"""An operator at a machine of retrofit, whose Glance is in memory: commands are typed and read."""

from __future__ import annotations

import copy
import itertools
import shlex
import shutil
from collections.abc import Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from retrofit.build.request import BuildRequest
from retrofit.cloud import Glance
from retrofit.errors import BuildError
from retrofit.model import BuiltImage, Image, Verdict
from retrofit.operations import run
from retrofit.produce.preflight import require
from retrofit.publish import look_again
from retrofit.verify.request import VerifyRequest
from tests.answers import Answer, typed
from tests.built import built_image, verdict_at
from tests.model.memory_glance import MemoryGlance
from tests.model.world import World
from tests.unit.images import synced
from tests.unit.named_commands import commands_in

TAG = "octavia-amphora"
CONFIGURATION = """\
[cloud]
name = "production"
[paths]
state = "{root}/state"
cache = "{root}/cache"
work = "{root}/work"
logs = "{root}/logs"
[freshness]
check = false
[octavia]
query = "never"
"""


@dataclass(frozen=True, kw_only=True)
class Typed(Answer):
    """What a command printed, and how it ended."""

    def commands(self) -> list[str]:
        """Return the commands of retrofit that the answer names, each once."""
        # Texts in JSON escape quotes; nothing else of a command is escaped there.
        text = f"{self.stdout}\n{self.stderr}".replace('\\"', '"')
        return list(dict.fromkeys(commands_in(text, is_page=False)))


@dataclass(kw_only=True)
class Desk:
    """One machine, one target (or several), and the world of images before it."""

    root: Path
    toml: str = ""
    world: World = field(default_factory=World)
    failing_check: str | None = None
    build_error: str | None = None
    _serials: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        """Begin today: what is typed reads this machine's clock."""
        self.root.mkdir(exist_ok=True)
        self.world.now = datetime.now(UTC)

    @property
    def octavia(self) -> str | None:
        """Return the id of the image that Octavia selects."""
        return next((image.id for image in self.world.eligible(TAG)), None)

    def release(self, version: str) -> Image:
        """Add a source image, as the synchroniser does."""
        image = synced(version, created_at=self.world.now)
        known = {key: value for key, value in vars(image).items() if key != "hash_value"}
        return self.world.add(b"a disk", **known)

    def hide(self, image_id: str) -> None:
        """Hide an image, with another tool than retrofit."""
        self.world.change(image_id, hidden=True)

    def published(self, version: str) -> str:
        """Let a run publish an image of a new source."""
        self.release(version)
        self.type("run-once", exit_code=0)
        self.world.pass_time(hours=-1)  # so that the next image is not of the same second
        self.world.now = datetime.now(UTC) + timedelta(seconds=next(self._serials))
        assert self.octavia is not None
        return self.octavia

    def type(self, *words: str, exit_code: int | None = None) -> Typed:
        """Type a command, without `retrofit`, at a machine without a terminal."""
        file = self.root / "retrofit.toml"
        file.write_text(CONFIGURATION.format(root=self.root) + self.toml)
        with self._here():
            return typed(file, words, exit_code=exit_code, kind=Typed)

    def tried(self, command: str, *, exit_code: int | None = None) -> tuple[Typed, Desk]:
        """Type a command as it was printed, in a copy of this world: the typed answer, the copy.

        Where it asks, it is confirmed.
        """
        copied = Desk(
            root=self.root.with_name(f"{self.root.name}-{next(self._serials)}"),
            toml=self.toml,
            failing_check=self.failing_check,
            build_error=self.build_error,
        )
        copied.world = copy.deepcopy(self.world)
        shutil.copytree(self.root, copied.root, dirs_exist_ok=True)
        words = shlex.split(command)[1:]
        asks = {"promote", "rollback", "adopt", "retire"} & set(words) and "--yes" not in words
        return copied.type(*words, *(["--yes"] if asks else []), exit_code=exit_code), copied

    @contextmanager
    def _here(self) -> Iterator[None]:
        glance = MemoryGlance(self.world)
        with ExitStack() as stack:
            patches: tuple[AbstractContextManager[Any], ...] = (
                patch.object(Glance, "connect", lambda _settings: glance),
                # Takes processes and namespaces; tests of its own look at what it finds.
                patch.object(require, "tries_of_a_build", lambda *_: ([], [])),
                patch.object(look_again, "PAUSE", 0.0),
                patch.object(
                    run,
                    "run_targets",
                    partial(run.run_targets, build=self._build, verify=self._verify),
                ),
            )
            for each in patches:
                stack.enter_context(each)
            yield

    def _build(self, request: BuildRequest) -> BuiltImage:
        if self.build_error is not None:
            raise BuildError(self.build_error)
        request.work_dir.mkdir(parents=True)
        path = request.work_dir / "amphora.qcow2"
        path.write_text(f"amphora {next(self._serials)} of {id(self)}")
        return built_image(path)

    def _verify(self, request: VerifyRequest) -> Verdict:
        return verdict_at(request.settings.level, failing_check=self.failing_check)
