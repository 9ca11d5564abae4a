"""A pause that an operator ordered: runs of the target do nothing until it ends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from retrofit.model import Image
from retrofit.times import read_time

PROPERTY = "retrofit_paused"


@dataclass(frozen=True, kw_only=True)
class Pause:
    """Who stopped the runs of a target, why, when, and until when (None: until `resume`)."""

    reason: str
    since: datetime
    by: str
    until: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Return True if it still holds."""
        return self.until is None or now < self.until

    def phrase(self, target: str | None = None) -> str:
        """Return it as one line, with the command that ends it where the target is named."""
        if self.until:
            end = f"until {self.until:%Y-%m-%d %H:%M} UTC"
        elif target is None:
            end = "until further notice"
        else:
            end = f"until `retrofit --target {target} resume`"
        return f"paused {end} by {self.by} since {self.since:%Y-%m-%d %H:%M} UTC: {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """Return the pause as JSON types."""
        return {
            "reason": self.reason,
            "since": self.since.isoformat(timespec="seconds"),
            "by": self.by,
            "until": self.until.isoformat(timespec="seconds") if self.until else None,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Pause:
        """Read a pause. One that cannot be read in full still holds: stopping is the safe side."""
        return cls(
            reason=str(record.get("reason") or "no reason was given"),
            since=read_time(record.get("since")) or datetime.fromtimestamp(0, UTC),
            by=str(record.get("by") or "somebody"),
            until=read_time(record.get("until")),
        )


def pauses_on(images: Iterable[Image]) -> list[Pause]:
    """Return the pauses that are written on images, so that every machine honours them."""
    found = []
    for image in images:
        text = image.property(PROPERTY)
        if not text:
            continue
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            record = {}
        found.append(Pause.from_dict(record if isinstance(record, dict) else {}))
    return found


def in_force(pauses: Iterable[Pause], now: datetime) -> Pause | None:
    """Return the pause that holds longest, or None when none does."""
    holding = [pause for pause in pauses if pause.in_force(now)]
    endless = datetime.max.replace(tzinfo=UTC)
    return max(
        holding, key=lambda pause: (pause.until or endless, pause.since, pause.reason), default=None
    )
