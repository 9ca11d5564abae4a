"""What the archive offers an image: newer packages, told apart by apt's own answers; pure."""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from retrofit.errors import RetrofitError


class ArchiveError(RetrofitError):
    """The reason why nobody knows what the archive offers: a warning, never a reason to build."""


class UpdateKind(enum.StrEnum):
    """Why a package is newer in the archive."""

    SECURITY = "security"
    OTHER = "other"
    HELD = "held"
    """It is newer in the archive, and no build takes it: kernel and boot loaders, for example."""
    AGENT = "agent"
    """A distribution of the agent's virtual environment, newer in the index or repository."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """A package of an image that is newer: a binary package, or one of the agent's Python.

    `has_fix` is whether a security fix is among the newer versions of a package that is held, or of
    the agent; of `SECURITY` there always is. `cves` are known where advisories are configured.
    """

    package: str
    source: str
    installed: str
    candidate: str
    kind: UpdateKind
    has_fix: bool = False
    cves: tuple[str, ...] = ()
    source_installed: str = ""
    source_candidate: str = ""
    """Versions of the source package, which advisories name; empty where they are the binary's."""

    @property
    def key(self) -> tuple[str, str]:
        """Return what names an update, wherever the installed version is not known.

        A distribution of Python may be called as a package of the archive is: no name of the latter
        has a slash.
        """
        prefix = "agent/" if self.kind is UpdateKind.AGENT else ""
        return f"{prefix}{self.package}", self.candidate

    @property
    def is_fix(self) -> bool:
        """Return True if it has a security fix."""
        return self.kind is UpdateKind.SECURITY or self.has_fix


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What the archive offered an image at a time."""

    checked_at: datetime
    updates: tuple[Update, ...]
    newest_index: datetime | None
    """Newest `Date:` of the security suites' indexes; of all where there is no security suite."""
    warnings: tuple[str, ...] = ()
    agent_unknown: str | None = None
    """Why nobody knows whether the agent has a newer release; the packages are known."""

    def of(self, kind: UpdateKind) -> tuple[Update, ...]:
        """Return the updates of a kind."""
        return tuple(update for update in self.updates if update.kind is kind)

    @property
    def digest(self) -> str:
        """Return a digest of what a build would take: the same for the same offer."""
        taken = sorted(update.key for update in self.updates if update.kind is not UpdateKind.HELD)
        return f"sha256:{hashlib.sha256(json.dumps(taken).encode()).hexdigest()}"
