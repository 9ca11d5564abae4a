"""Builds that fail wait, each time longer, before they are tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from retrofit.config import BuildSettings
from retrofit.model import Source
from retrofit.plan.freshness import Freshness
from retrofit.times import read_time

OFFER = " offer "


@dataclass(frozen=True, kw_only=True)
class FailedBuild:
    """What went wrong the last time, and how often in a row it did for the same inputs.

    `code` and `message` are those of the error, `inputs` names source and recipe.
    """

    inputs: str
    count: int
    last_at: datetime
    code: str
    message: str
    run_id: str

    def retry_at(self, settings: BuildSettings) -> datetime:
        """Return when the build may be tried again: the wait doubles up to its cap."""
        # Doubling is stopped before it makes numbers that no timedelta can hold.
        minutes = settings.retry_after * 2 ** min(self.count - 1, 20)
        try:
            return self.last_at + timedelta(minutes=min(minutes, settings.retry_max))
        except OverflowError:  # a clock that was at the end of time
            return datetime.max.replace(tzinfo=UTC)

    def holds_back(self, inputs: str, settings: BuildSettings, now: datetime) -> bool:
        """Return True if a build of `inputs` still has to wait.

        A failure from the future is of a clock that was put right since: it holds nothing back.
        """
        return _same(inputs, self.inputs) and self.last_at <= now < self.retry_at(settings)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON types."""
        return {**asdict(self), "last_at": self.last_at.isoformat(timespec="seconds")}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> FailedBuild | None:
        """Read a record; None for one that is not of our form: then nothing is held back."""
        last_at = read_time(record.get("last_at"))
        if last_at is None:
            return None
        try:
            return cls(
                inputs=str(record["inputs"]),
                count=max(1, int(record["count"])),
                last_at=last_at,
                code=str(record["code"]),
                message=str(record["message"]),
                run_id=str(record["run_id"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            return None


def inputs_of(source: Source, recipe: str, freshness: Freshness | None = None) -> str:
    """Name what a build is made of: with another source, recipe or archive it may succeed."""
    base = f"{source.product} {source.version} {source.content_hash} {recipe}"
    if freshness is None or freshness.offer is None:
        return base
    return f"{base}{OFFER}{freshness.offer.digest}"


def _same(inputs: str, others: str) -> bool:
    """Compare what two builds were made of, by the archive only where it was known for both."""
    pairs = [each.partition(OFFER) for each in (inputs, others)]
    (base, _, offer), (other_base, _, other_offer) = pairs
    return base == other_base and (not offer or not other_offer or offer == other_offer)
