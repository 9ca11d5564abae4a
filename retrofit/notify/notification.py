"""A notification: one change of a target's state, as the webhook and the command get it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator

from retrofit.documents import Text, Time, TolerantDocument
from retrofit.runs.report_document import ErrorDocument

OLD_EVENTS: Mapping[str, str] = {"too_old": "stale"}
"""Words of 0.1.0 -> those of today."""


class Notification(TolerantDocument):
    """A change of state; `id` is the same at every attempt to deliver it.

    `event` is one of the events of `notify.events`, or `test`. `failing_since` is of a recovery.
    """

    id: Text = Field(description="The same at every attempt to deliver it.")
    event: Text = Field(description="One of the events of `notify.events`, or `test`.")
    at: Time = Field(description="Time of the change.")
    target: Text | None = Field(None, description="Name of the target.")
    host: Text = Field("", description="Machine that reports it.")
    run_id: Text | None = Field(None, description="Run that made the change.")
    action: Text | None = Field(
        None, description="What that run was: `run`, `repair`, `promote`, `rollback`."
    )
    by: Text | None = Field(None, description="Who ordered that, and on which host.")
    summary: Text = Field("", description="The change in one sentence.")
    text: Text = Field("", description="The same, under the key that Slack and Mattermost show.")
    image_id: Text | None = Field(None, description="The promoted image.")
    image_created_at: Time | None = Field(None, description="Creation of that image.")
    error: ErrorDocument | None = Field(None, description="Why the run failed.")
    failing_since: Time | None = Field(
        None,
        description="Start of the first failed run, of `recovered`; begin of the outage, of"
        " `image_found`.",
    )
    log_dir: Text | None = Field(None, description="Directory of the run's logs.")
    retrofit_version: Text = Field("", description="Version of retrofit.")

    @field_validator("event")
    @classmethod
    def _understand_old_events(cls, event: str) -> str:
        return OLD_EVENTS.get(event, event)
