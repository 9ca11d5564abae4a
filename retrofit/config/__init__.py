"""The configuration as types: read-only and validated; each error names its key."""

from retrofit.config.build import BuildSettings
from retrofit.config.cloud import CloudSettings
from retrofit.config.freshness import FreshnessSettings
from retrofit.config.lock import LockSettings
from retrofit.config.metrics import MetricsSettings
from retrofit.config.mirror import MirrorSettings
from retrofit.config.notify import NotifySettings
from retrofit.config.octavia import OctaviaSettings
from retrofit.config.paths import PathSettings
from retrofit.config.publish import PublishSettings
from retrofit.config.rollover import RolloverSettings
from retrofit.config.schedule import ScheduleSettings
from retrofit.config.section import Name, Section, Word
from retrofit.config.settings import Settings, Target
from retrofit.config.source import SourceSettings
from retrofit.config.verify import VerifySettings
from retrofit.config.web import WebSettings
from retrofit.config.worker import WorkerSettings

__all__ = [
    "BuildSettings",
    "CloudSettings",
    "FreshnessSettings",
    "LockSettings",
    "MetricsSettings",
    "MirrorSettings",
    "Name",
    "NotifySettings",
    "OctaviaSettings",
    "PathSettings",
    "PublishSettings",
    "RolloverSettings",
    "ScheduleSettings",
    "Section",
    "Settings",
    "SourceSettings",
    "Target",
    "VerifySettings",
    "WebSettings",
    "Word",
    "WorkerSettings",
]
