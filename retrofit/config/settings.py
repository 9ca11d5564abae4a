"""The whole configuration: one target or several, and what they share."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from retrofit.config.build import BuildSettings
from retrofit.config.cloud import CloudSettings
from retrofit.config.lock import LockSettings
from retrofit.config.metrics import MetricsSettings
from retrofit.config.mirror import UBUNTU_KEYRING, MirrorSettings
from retrofit.config.notify import NotifySettings
from retrofit.config.octavia import OctaviaSettings
from retrofit.config.paths import PathSettings
from retrofit.config.publish import PublishSettings
from retrofit.config.schedule import ScheduleSettings
from retrofit.config.section import Name, Section
from retrofit.config.source import SourceSettings
from retrofit.config.verify import VerifySettings
from retrofit.config.web import WebSettings
from retrofit.config.worker import WorkerSettings


class Target(Section):
    """One image to keep current: everything a run needs to know but local paths and the lock."""

    name: Name = "default"
    cloud: CloudSettings = Field(default_factory=CloudSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    mirror: MirrorSettings = Field(default_factory=MirrorSettings)
    build: BuildSettings = Field(default_factory=BuildSettings)
    verify: VerifySettings = Field(default_factory=VerifySettings)
    publish: PublishSettings = Field(default_factory=PublishSettings)
    octavia: OctaviaSettings = Field(default_factory=OctaviaSettings)
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings)

    @model_validator(mode="after")
    def _mirror_is_usable(self) -> Self:
        """Refuse what the sections say apart and cannot mean together; messages name the key."""
        source, mirror = self.source, self.mirror
        if mirror.url is None:
            if source.origin == "simplestreams":
                raise ValueError("mirror.url: source.origin is simplestreams, which needs a mirror")
            if source.trust == "signed":
                raise ValueError("mirror.url: source.trust is signed, which needs a signed mirror")
        elif mirror.effective_keyring is None and not mirror.allow_unsigned:
            raise ValueError(
                f"mirror.keyring: nothing to check the mirror's signature with, as"
                f" {UBUNTU_KEYRING} is not there either (mirror.allow_unsigned does without)"
            )
        if source.trust == "signed" and mirror.effective_keyring is None:
            raise ValueError("mirror.keyring: source.trust is signed, which needs a keyring")
        if source.origin == "simplestreams" and source.image is not None:
            raise ValueError("source.image: names an image in Glance; source.origin is the mirror")
        if source.publish_stock and source.origin != "simplestreams":
            raise ValueError("source.publish_stock: needs source.origin simplestreams")
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
