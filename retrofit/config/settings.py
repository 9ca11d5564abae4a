"""The whole configuration: one target or several, and what they share."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from retrofit.config.build import BuildSettings
from retrofit.config.cloud import CloudSettings
from retrofit.config.freshness import FreshnessSettings
from retrofit.config.lock import LockSettings
from retrofit.config.metrics import MetricsSettings
from retrofit.config.mirror import UBUNTU_KEYRING, MirrorSettings
from retrofit.config.notify import NotifySettings
from retrofit.config.octavia import OctaviaSettings
from retrofit.config.paths import PathSettings
from retrofit.config.publish import PublishSettings
from retrofit.config.rollover import RolloverSettings
from retrofit.config.schedule import ScheduleSettings
from retrofit.config.section import Name, Section
from retrofit.config.source import SourceSettings
from retrofit.config.verify import VerifySettings
from retrofit.config.web import WebSettings
from retrofit.config.worker import WorkerSettings


class Target(Section):
    """One image to keep up to date: all that a run needs but local paths and the lock."""

    name: Name = "default"
    formerly: tuple[Name, ...] = Field(
        (),
        description="Names that the target had before: images with one of them stay ours.",
    )
    cloud: CloudSettings = Field(default_factory=CloudSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    mirror: MirrorSettings = Field(default_factory=MirrorSettings)
    build: BuildSettings = Field(default_factory=BuildSettings)
    verify: VerifySettings = Field(default_factory=VerifySettings)
    freshness: FreshnessSettings = Field(default_factory=FreshnessSettings)
    publish: PublishSettings = Field(default_factory=PublishSettings)
    octavia: OctaviaSettings = Field(default_factory=OctaviaSettings)
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings)
    rollover: RolloverSettings = Field(default_factory=RolloverSettings)

    @model_validator(mode="after")
    def _mirror_is_usable(self) -> Self:
        """Refuse sections that contradict each other; messages begin with the key."""
        source, mirror = self.source, self.mirror
        if mirror.url is None:
            if source.origin == "simplestreams":
                raise ValueError("mirror.url: source.origin is simplestreams, which needs a mirror")
            if source.trust == "signed":
                raise ValueError("mirror.url: source.trust is signed, which needs a signed mirror")
        elif mirror.effective_keyring is None and not mirror.allow_unsigned:
            raise ValueError(
                f"mirror.keyring: not set, and {UBUNTU_KEYRING} does not exist: the mirror's"
                " signature cannot be verified (mirror.allow_unsigned accepts that)"
            )
        if source.trust == "signed" and mirror.effective_keyring is None:
            raise ValueError("mirror.keyring: source.trust is signed, which needs a keyring")
        if source.origin == "simplestreams" and source.image is not None:
            raise ValueError(
                "source.image: is the ID of an image in Glance; source.origin is simplestreams"
            )
        return self


class Settings(Section):
    """The whole configuration, validated."""

    targets: tuple[Target, ...]
    lock: LockSettings = Field(default_factory=LockSettings)
    paths: PathSettings = Field(default_factory=PathSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    web: WebSettings = Field(default_factory=WebSettings)

    def target(self, name: str) -> Target:
        """Return the target of that name. Raises KeyError where there is none."""
        for target in self.targets:
            if target.name == name:
                return target
        raise KeyError(name)
