"""How a rollover stood when this machine last looked: for the status, the page and the metrics.

The record is local and may be lost without harm: Octavia's amphorae are what counts.
"""

from __future__ import annotations

from pathlib import Path

import structlog
from pydantic import Field, ValidationError

from retrofit.documents import Count, Document, Text, Time
from retrofit.runs import store

log = structlog.get_logger(__name__)

FILE = "rollover.json"
MOST_LEFT = 200
"""Load balancers that are named among those left; the others are counted."""


class LeftDocument(Document):
    """A load balancer that is due and not moved in this rollover, and why."""

    id: Text
    name: Text
    reason: Text


class RolloverDocument(Document):
    """How a rollover stands: what moved, what is to be moved, what stays, and what it waits for."""

    state: Text = Field(description="`done`, `moving`, `postponed` or `halted`.")
    at: Time = Field(description="When that was seen.")
    image_id: Text | None = Field(None, description="The promoted image.")
    load_balancers: Count = Field(0, description="Load balancers of the target.")
    moved: Count = Field(0, description="Those on images of this rollover.")
    due: Count = Field(0, description="Those that are still to be moved.")
    left: tuple[LeftDocument, ...] = Field(
        (), description=f"Those that are due and stay, with the reasons; {MOST_LEFT} at most."
    )
    left_count: Count = Field(0, description="How many stay.")
    reason: Text | None = Field(None, description="Why it halted, or what it waits for.")
    until: Time | None = Field(None, description="When the wait ends, where that is known.")
    failing_over: tuple[Text, ...] = Field((), description="Load balancers that fail over now.")


def read_rollover(state_dir: Path, target: str) -> RolloverDocument | None:
    """Return how a target's rollover stood; None without a record."""
    record = store.read(path_of(state_dir, target))
    try:
        return None if record is None else RolloverDocument.model_validate(record)
    except ValidationError:
        return None


def write_rollover(state_dir: Path, target: str, document: RolloverDocument) -> None:
    """Record how a target's rollover stands; what keeps us from that is logged."""
    try:
        store.write(path_of(state_dir, target), document.as_dict())
    except OSError as error:
        log.warning("state of the rollover not recorded", error=str(error))


def path_of(state_dir: Path, target: str) -> Path:
    """Return where the record of a target is kept."""
    return store.directory_of(state_dir, target) / FILE
