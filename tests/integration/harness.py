"""A Glance with images as a test wants them, and retrofit's command line pointed at it."""

from __future__ import annotations

import hashlib
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from retrofit.build.recipe import recipe_for
from retrofit.cloud import Glance
from retrofit.config import BuildSettings, Settings, Target
from retrofit.config.file import load
from retrofit.model import Image
from retrofit.operations import run
from retrofit.plan import Identity
from retrofit.runs.report import RunReport
from retrofit.system.digests import ends_of
from tests.answers import Answer, typed
from tests.devcloud.files import make_tiny
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.glance_rows import GlanceRows
from tests.devcloud.octavia import ImageManager, NoAmphoraImageError
from tests.integration.fake_builder import FakeBuilder

TAG = "octavia-amphora"
CHARM_TAG = "octavia-diskimage-retrofit"
PRODUCT = "com.ubuntu.cloud:server:24.04:amd64"
NOT_FRESH = "[freshness]\ncheck = false\n"
RETENTION_AT_ONCE = "[publish]\nretire_after = 0\nretire_after_unknown = 0\n"


class Killed(BaseException):
    """The end of a process that nothing could be done about."""


@dataclass(kw_only=True)
class CloudHarness:
    """One cloud, one directory of a machine, and what may be done with both."""

    site: Devcloud
    manager: ImageManager | None
    """Octavia's own driver; None where no test asks it."""
    directory: Path
    make_image: Callable[..., Path]
    toml: str = RETENTION_AT_ONCE
    account: str = "demo"
    clouds_yaml: Path | None = None
    """Instead of the cloud's own."""
    cloud_toml: str = ""
    """Further settings of `[cloud]`."""
    freshness_toml: str = NOT_FRESH
    """The images of most tests have no packages."""
    machine: str = "a"
    """Machines share the cloud and nothing on disk."""
    tags: dict[str, str] = field(default_factory=dict)
    """Tags of targets that have another one than the usual."""
    fake_builder: FakeBuilder = field(init=False)

    def __post_init__(self) -> None:
        self.fake_builder = FakeBuilder(self.make_image)

    @cached_property
    def rows(self) -> GlanceRows:
        return GlanceRows(state=self.site.state)

    @cached_property
    def client(self) -> Any:
        """A glanceclient as project services, with the right to everything."""
        return self.site.glance(self.site.sync_cloud)

    @cached_property
    def project(self) -> str:
        return self.site.project_id("services")

    @property
    def recipe(self) -> str:
        """The digest of the recipe that the default settings give."""
        return _default_recipe()

    @cached_property
    def _bytes(self) -> Path:
        return _any_image(self.directory / "any.qcow2")

    @property
    def config(self) -> Path:
        """The configuration, written anew: tests change `toml`, `account` and `machine`."""
        lines = [
            "[cloud]",
            f'name = "{self.account}"',
            f'clouds_yaml = "{self.clouds_yaml or self.site.clouds_yaml}"',
            self.cloud_toml,
            "[paths]",
            *(f'{name} = "{self.path(name)}"' for name in ("state", "cache", "work", "logs")),
            self.freshness_toml,
            self.toml,
        ]
        file = self.directory / f"{self.machine}.toml"
        file.write_text("\n".join(lines))
        return file

    @property
    def cloud(self) -> dict[str, Any]:
        """The section `[cloud]` for a machine that is not this one."""
        return {"name": self.account, "clouds_yaml": self.site.clouds_yaml}

    @property
    def settings(self) -> Settings:
        """The settings that the configuration gives now."""
        return load(self.config)

    @property
    def glance(self) -> Glance:
        """retrofit's own client, with the account of the configuration."""
        return Glance.connect(self.settings.targets[0].cloud)

    def path(self, name: str) -> Path:
        """One of this machine's directories, by its setting."""
        return self.directory / self.machine / name

    def retrofit(self, *words: str, exit_code: int | None = 0) -> Answer:
        """Run the command line as `typed` does, with the fake builder in place of the real one."""
        doubles = partial(
            run.run_targets, build=self.fake_builder.build, verify=self.fake_builder.verify
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(run, "run_targets", doubles)
            return typed(self.config, words, exit_code=exit_code, kind=Answer)

    def run(self, target: Target | None = None, **options: Any) -> RunReport:
        """Run the pipeline once, for a target of the configuration or the one that is given.

        For tests that reach below the commands. `options` are those of `run_once`.
        """
        doubles = {"build": self.fake_builder.build, "verify": self.fake_builder.verify}
        settings = self.settings
        if target is not None:
            settings = settings.model_copy(update={"targets": (target,)})
        return run.run_once(settings.targets[0], settings, **doubles | options)

    def amphorae(self, target: str = "default") -> list[Image]:
        """The images of a target, as retrofit reads them."""
        return self.glance.list({"retrofit_target": target})

    def nothing_left(self, target: str = "default") -> bool:
        """Return True if no run left a work directory."""
        return not any((self.path("work") / target).iterdir())

    def act(self, *words: str, exit_code: int | None = 0) -> Any:
        """Do something that changes images, and see Octavia take the image that is reported.

        Returns the document.
        """
        document = self.retrofit(*words, "-o", "json", exit_code=exit_code).document
        for report in document.get("runs", [document]):
            tag = self.tags.get(report["target"], TAG)
            assert self.octavia(tag) == report["image_id"], report
        return document

    def refused(self, *words: str, exit_code: int) -> str:
        """Run a command that has to refuse; returns what it told. No image may change by it."""
        before = self.everything()
        said = self.retrofit(*words, exit_code=exit_code).stderr
        assert self.everything() == before
        assert "hint: " in said
        return said

    def read(self, *words: str, exit_code: int | None = 0) -> Any:
        """Return the document of a command that changes nothing."""
        before = self.everything()
        document = self.retrofit(*words, "-o", "json", exit_code=exit_code).document
        assert self.everything() == before
        return document

    def killed_after(self, writes: int, *words: str) -> bool:
        """Run a command that dies at once after so many writes to Glance; says whether it did."""
        left = writes

        def dying(write: Callable[..., Any]) -> Callable[..., Any]:
            def act(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return write(*args, **kwargs)

            return act

        with pytest.MonkeyPatch.context() as patched:
            for name in ("create", "upload", "tag", "untag", "update", "delete"):
                patched.setattr(Glance, name, dying(getattr(Glance, name)))
            try:
                self.retrofit(*words)
            except Killed:
                return True
        return False

    @contextmanager
    def polled(self) -> Iterator[list[str | None]]:
        """Ask Octavia's driver for the usual tag, as `polled_for` does: what it returned."""
        with self.polled_for(TAG) as seen:
            yield seen[TAG]

    @contextmanager
    def polled_for(self, *tags: str) -> Iterator[dict[str, list[str | None]]]:
        """Ask Octavia's driver for each tag again and again beside the block.

        What it returned is by tag, in order.
        """
        seen: dict[str, list[str | None]] = {tag: [] for tag in tags}
        stop = threading.Event()

        def poll() -> None:
            while not stop.is_set():
                for tag in tags:
                    seen[tag].append(self.octavia(tag))

        thread = threading.Thread(target=poll)
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join()

    def everything(self) -> dict[str, Any]:
        """All that Glance knows of every image but when it was last looked at."""
        return {image["id"]: image for image in self.site.records(self.site.admin_cloud)}

    def octavia(self, tag: str = TAG, *, owner: bool = True) -> str | None:
        """The image that Octavia's own driver returns; None where it finds none."""
        assert self.manager is not None
        try:
            return self.manager.answer(tag=tag, owner=self.project if owner else None)
        except NoAmphoraImageError:
            return None

    def image(self, image_id: str) -> Any:
        """An image as Glance shows it now."""
        return self.client.images.get(image_id)

    def gone(self, image_id: str) -> bool:
        return image_id not in self.everything()

    def tagged(self, tag: str = TAG) -> set[str]:
        """All images that carry a tag, in whatever state."""
        return {key for key, image in self.everything().items() if tag in image["tags"]}

    def source(
        self,
        version: str,
        *,
        product: str = PRODUCT,
        item: str = "disk1.img",
        account: str | None = None,
        file: Path | None = None,
        **changed: Any,
    ) -> str:
        """Put a stock image into Glance as the synchroniser does; None leaves a property out."""
        release = product.split(":")[2]
        attributes = {
            "name": f"auto-sync/ubuntu-{release}-{product.split(':')[3]}-{version}-{item}",
            "product_name": product,
            "version_name": version,
            "item_name": item,
            "os_distro": "ubuntu",
            "os_version": release,
            "architecture": "x86_64",
            "content_id": "auto.sync",
            **changed,
        }
        given = {key: value for key, value in attributes.items() if value is not None}
        return self.site.plant(file or self._bytes, cloud=account or self.site.sync_cloud, **given)

    def identity(self, image_id: str, *, target: str = "default", tag: str = TAG) -> dict[str, str]:
        """The properties by which an image of this project names itself."""
        named = Identity(project_id=self.project, target=target, tag=tag)
        return {"id": image_id, **named.properties_of(image_id)}

    def amphora(self, version: str, *, days: float = 0, **changed: Any) -> str:
        """Put an amphora image into Glance as a run of `days` ago left it, not promoted yet."""
        target = changed.get("retrofit_target", "default")
        tag = self.tags.get(target) or next(iter(changed.get("tags") or ()), TAG)
        named = self.identity(str(uuid.uuid4()), target=target, tag=tag)
        run_id = f"20260901T000000Z-{secrets.token_hex(3)}"
        return self.of_0_1_0(version, days=days, **{**named, "retrofit_run_id": run_id, **changed})

    def of_0_1_0(self, version: str, *, days: float = 0, **changed: Any) -> str:
        """Put an amphora image into Glance as 0.1.0 left it: it does not name itself."""
        source_hash = self._hash_of(self._bytes)
        attributes = {
            "name": f"amphora-haproxy-x86_64-ubuntu-24.04-{version}",
            "architecture": "x86_64",
            "os_distro": "ubuntu",
            "os_version": "24.04",
            "source_product_name": PRODUCT,
            "source_version_name": version,
            "retrofit_target": "default",
            "retrofit_run_id": "20260901T000000Z-abcdef",
            "retrofit_host": "elsewhere",
            "retrofit_version": "0.1.0",
            "retrofit_recipe": self.recipe,
            "retrofit_source_id": "00000000-0000-4000-8000-000000000000",
            "retrofit_source_hash": source_hash,
            "retrofit_image_hash": source_hash,
            "retrofit_image_ends": ends_of(self._bytes),
            "retrofit_read_at": days_ago(0).isoformat(),
            "retrofit_verified_at": days_ago(days).isoformat(),
            "retrofit_verification": "full-tcg",
            **changed,
        }
        given = {key: value for key, value in attributes.items() if value is not None}
        made = self.site.plant(self._bytes, **given)
        self.rows.set_created(made, days_ago(days))
        return made

    def promoted(self, version: str, *, days: float = 0, **changed: Any) -> str:
        """Put the amphora image into Glance that a run of `days` ago promoted."""
        marks = {"tags": [TAG], "retrofit_promoted_at": days_ago(days).isoformat()}
        return self.amphora(version, days=days, **marks | changed)

    def former(
        self, version: str, *, days: float, demoted_days: float | None = None, **changed: Any
    ) -> str:
        """Put an amphora image into Glance that was promoted `days` ago and demoted since."""
        demoted = days / 2 if demoted_days is None else demoted_days
        marks = {
            "os_hidden": True,
            "retrofit_promoted_at": days_ago(days).isoformat(),
            "retrofit_demoted_at": days_ago(demoted).isoformat(),
        }
        return self.amphora(version, days=days, **marks | changed)

    def of_the_charm(self, version: str, *, days: float = 0, **changed: Any) -> str:
        """Put an image into Glance as the octavia-diskimage-retrofit charm leaves it."""
        attributes = {
            "name": f"amphora-haproxy-x86_64-ubuntu-24.04-{version}",
            "tags": [CHARM_TAG, TAG],
            "architecture": "x86_64",
            "os_distro": "ubuntu",
            "os_version": "24.04",
            "source_product_name": PRODUCT,
            "source_version_name": version,
            **changed,
        }
        made = self.site.plant(self._bytes, **attributes)
        self.rows.set_created(made, days_ago(days))
        return made

    def foreign(self, *, days: float = 0, **changed: Any) -> str:
        """Put an image of another project into Glance."""
        made = self.site.plant(self._bytes, cloud=self.site.tenant_cloud, **changed)
        self.rows.set_created(made, days_ago(days))
        return made

    @cached_property
    def _hashes(self) -> dict[Path, str]:
        return {}

    def _hash_of(self, file: Path) -> str:
        if file not in self._hashes:
            self._hashes[file] = f"sha512:{hashlib.sha512(file.read_bytes()).hexdigest()}"
        return self._hashes[file]


@cache
def _default_recipe() -> str:
    """Hash the elements once: no test changes ours."""
    return recipe_for(BuildSettings()).digest


@cache
def _any_content() -> bytes:
    with TemporaryDirectory() as work:
        return make_tiny(Path(work) / "any.qcow2").read_bytes()


def _any_image(path: Path) -> Path:
    """Write the one image that stands for any, which takes qemu-img only once."""
    path.write_bytes(_any_content())
    return path


def days_ago(days: float) -> datetime:
    """A time with whole seconds, as Glance shows times."""
    return (datetime.now(UTC) - timedelta(days=days)).replace(microsecond=0)
