"""The whole configuration: one target or several, and what they share."""

from __future__ import annotations

from pydantic import Field

from retrofit.config.build import BuildSettings
from retrofit.config.cloud import CloudSettings
from retrofit.config.lock import LockSettings
from retrofit.config.mirror import MirrorSettings
from retrofit.config.octavia import OctaviaSettings
from retrofit.config.paths import PathSettings
from retrofit.config.publish import PublishSettings
from retrofit.config.schedule import ScheduleSettings
from retrofit.config.section import Name, Section
from retrofit.config.source import SourceSettings
from retrofit.config.verify import VerifySettings


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


class Settings(Section):
    """The whole configuration, validated."""

    targets: tuple[Target, ...]
    lock: LockSettings = Field(default_factory=LockSettings)
    paths: PathSettings = Field(default_factory=PathSettings)
