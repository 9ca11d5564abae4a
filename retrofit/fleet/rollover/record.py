"""What a rollover writes on the promoted image, so that every machine knows it; pure.

Which load balancers have moved is never written: Octavia's record of each amphora's image tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from retrofit.model import Image
from retrofit.plan.image_state import PROMOTED_AT, is_rejected
from retrofit.times import iso, read_time

PROPERTY = "retrofit_rollover"
HALTED = "retrofit_rollover_halted"


@dataclass(frozen=True, kw_only=True)
class Halt:
    """Why a rollover halted, since when, and who noticed."""

    reason: str
    since: datetime
    by: str
    load_balancer: str | None = None

    def phrase(self) -> str:
        """Return it as one line."""
        return f"halted since {self.since:%Y-%m-%d %H:%M} UTC by {self.by}: {self.reason}"

    def as_text(self) -> str:
        """Return it as the value of the property."""
        return json.dumps(
            {
                "reason": self.reason,
                "since": iso(self.since),
                "by": self.by,
                "load_balancer": self.load_balancer,
            }
        )


@dataclass(frozen=True, kw_only=True)
class Record:
    """A rollover that has begun: since which promotion, and what has failed in it.

    `failed` are load balancers whose failover failed, by id, with the reasons. `acknowledged` are
    those whose trouble an operator has seen and gone on by `rollover --resume`, with the mark of
    that trouble (`Doubt.mark`). One that has `ended` is kept for what they still hold: the same
    image is tried no second time on what failed, and what was seen is no doubt again.
    """

    began_at: datetime
    failed: Mapping[str, str] = field(default_factory=dict)
    acknowledged: Mapping[str, str] = field(default_factory=dict)
    ended: bool = False

    def as_text(self) -> str:
        """Return it as the value of the property."""
        return json.dumps(
            {
                "began_at": iso(self.began_at),
                "failed": dict(self.failed),
                "acknowledged": dict(self.acknowledged),
                "ended": self.ended,
            }
        )


def halt_on(image: Image) -> Halt | None:
    """Return the halt that an image carries. One that cannot be read in full still holds."""
    text = image.property(HALTED)
    if not text:
        return None
    found = _read(text)
    return Halt(
        reason=str(found.get("reason") or "the reason cannot be read"),
        since=read_time(found.get("since")) or datetime.fromtimestamp(0, UTC),
        by=str(found.get("by") or "somebody"),
        load_balancer=str(found["load_balancer"]) if found.get("load_balancer") else None,
    )


def record_on(image: Image) -> Record | None:
    """Return the record that an image carries; None without one, or with an unreadable one."""
    found = _read(image.property(PROPERTY) or "")
    began_at = read_time(found.get("began_at"))
    if began_at is None:
        return None
    return Record(
        began_at=began_at,
        failed=_strings(found.get("failed")),
        acknowledged=_strings(found.get("acknowledged")),
        ended=found.get("ended") is True,
    )


def current_record(promoted: Image, ours: Iterable[Image]) -> Record:
    """Return the rollover that is going on, or that begins with the promoted image.

    One that began with an earlier image goes on with each newer one, as long as nothing spoke
    against the earlier one: it was neither rejected nor halted. So daily promotions do not start
    soak and canaries anew for ever. One that has ended does not go on.
    """
    own = record_on(promoted)
    if own is not None:
        return own
    return _earlier(promoted, ours) or Record(began_at=_promotion(promoted))


def is_going_on(promoted: Image, ours: Iterable[Image]) -> bool:
    """Return True if a rollover has begun, with the promoted image or with an earlier one."""
    own = record_on(promoted)
    return not own.ended if own is not None else _earlier(promoted, ours) is not None


def record_of_the_end(record: Record, promoted: Image) -> Record | None:
    """Return what stays on the promoted image once nothing is due; None for nothing.

    What is due later begins a rollover with that image, as it would without a record.
    """
    if not record.failed and not record.acknowledged:
        return None
    return replace(record, began_at=_promotion(promoted), ended=True)


def _promotion(promoted: Image) -> datetime:
    return promoted.time(PROMOTED_AT) or promoted.created_at


def _earlier(promoted: Image, ours: Iterable[Image]) -> Record | None:
    """Return the rollover that began with an earlier image and goes on; None for none."""
    earlier = [
        (_promotion(image), image.id, record)
        for image in ours
        if image.id != promoted.id
        and not is_rejected(image)
        and halt_on(image) is None
        and (record := record_on(image)) is not None
        and not record.ended
    ]
    return max(earlier, key=lambda each: each[:2])[-1] if earlier else None


def _read(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _strings(found: object) -> dict[str, str]:
    return {str(key): str(each) for key, each in found.items()} if isinstance(found, dict) else {}
