"""Who changed an image, from where, by which run and why: written beside the time of the change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from retrofit.model import Image
from retrofit.times import iso, read_time

PROMOTED_BY = "retrofit_promoted_by"
DEMOTED_BY = "retrofit_demoted_by"
REJECTED_BY = "retrofit_rejected_by"
LONGEST = 400
"""Characters of a reason on an image; the report of the run has all of it."""
PERSONAL = frozenset({"promote", "rollback"})
"""Actions that a person ordered."""


@dataclass(frozen=True, kw_only=True)
class Authorship:
    """Who made a change (`user@host`), in which run, by which action, and why."""

    at: datetime
    by: str
    run_id: str
    action: str
    why: str

    @property
    def is_personal(self) -> bool:
        """Return True if a person ordered the change."""
        return self.action in PERSONAL

    def phrase(self) -> str:
        """Return it as one line."""
        why = f": {self.why}" if self.why else ""
        return f"{self.by}, {self.action}, run {self.run_id}{why}"

    def as_property(self) -> str:
        """Return it as the value of a property of an image."""
        return json.dumps(
            {
                "at": iso(self.at),
                "by": self.by,
                "run": self.run_id,
                "action": self.action,
                "why": self.why[:LONGEST],
            }
        )


def authorship(image: Image, name: str, when: datetime | None) -> Authorship | None:
    """Return who made a change of an image, `when` being the time that the image has of it.

    None where nothing is recorded, or something of another change: 0.1.0 writes times alone.
    """
    try:
        record: Any = json.loads(image.property(name) or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, Mapping):
        return None
    at = read_time(record.get("at"))
    if at is None or at != when:
        return None

    def word(key: str) -> str:
        return str(record.get(key) or "")

    return Authorship(
        at=at, by=word("by"), run_id=word("run"), action=word("action"), why=word("why")
    )
