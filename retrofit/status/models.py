"""The status document: one target, and all targets; page, JSON, metrics and commands show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from retrofit.documents import Count, Days, Document, Seconds, Text, Time
from retrofit.fleet.document import AuditDocument
from retrofit.plan import FailedBuild, ImageState, Pause
from retrofit.plan.authorship import Authorship
from retrofit.runs.report_document import (
    ErrorDocument,
    ReportDocument,
    SourceDocument,
    StepDocument,
)
from retrofit.runs.rollover import RolloverDocument

VERSION: Literal[2] = 2
"""Of the form of the document; keys are only added within one."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
State = Literal[
    "no_image",
    "running",
    "cloud_unreachable",
    "paused",
    "failed",
    "backoff",
    "never_run",
    "stale",
    "ok",
]
STATES: Mapping[State, str] = {
    "no_image": "no image promoted",
    "running": "running",
    "cloud_unreachable": "cloud unreachable",
    "paused": "paused",
    "failed": "failed",
    "backoff": "backoff",
    "never_run": "never run",
    "stale": "stale",
    "ok": "ok",
}
"""Every state of a target, the one that matters most first, and what people are shown.

Without an image no load balancer can start or fail over: no other state may hide that.
"""


class AuthorDocument(Document):
    """Who changed an image, on which host, by which action and run, and why."""

    at: Time
    by: Text
    run_id: Text
    action: Text
    why: Text
    phrase: Text = Field(description="The same in one line.")

    @classmethod
    def of(cls, author: Authorship | None) -> AuthorDocument | None:
        """Describe an author; None for none."""
        if author is None:
            return None
        return cls(
            at=author.at,
            by=author.by,
            run_id=author.run_id,
            action=author.action,
            why=author.why,
            phrase=author.phrase(),
        )


class ImageDocument(Document):
    """An amphora image in Glance; properties that others may have written are texts."""

    id: Text
    name: Text
    target: Text
    made_by: Text
    status: Text = Field(description="Glance's status.")
    promoted: bool
    remark: Text | None = Field(None, description="Why retrofit leaves an image alone.")
    state: ImageState | None = Field(description="Null for an image that is not of retrofit.")
    rejected: bool
    usable: bool
    hidden: bool
    protected: bool
    created_at: Time
    age_days: Days
    size: int | None = Field(description="Bytes.")
    min_disk: int = Field(description="GiB.")
    tags: tuple[Text, ...]
    kept_by_tags: tuple[Text, ...] = Field(
        (), description="Tags of others: an image with one is never untagged, hidden or deleted."
    )
    retrofit_rejected_at: Time | None
    source_product_name: Text | None
    source_version_name: Text | None
    retrofit_recipe: Text | None
    retrofit_run_id: Text | None
    retrofit_verified_at: Text | None
    retrofit_verification: Text | None
    retrofit_promoted_at: Text | None
    retrofit_demoted_at: Text | None
    promoted_by: AuthorDocument | None = None
    demoted_by: AuthorDocument | None = None
    rejected_by: AuthorDocument | None = None
    haproxy_version: Text | None
    amphora_agent_version: Text | None
    kernel_version: Text | None
    missing_fixes: Count | None = Field(
        None,
        description="Security fixes that it lacks, by this machine's last check; null where that is"
        " not known, and for an image that is not promoted.",
    )


class PromotedDocument(ImageDocument):
    """The promoted image; ages are of the moment when the document was made."""

    source_published_at: Time | None = Field(description="Day of the source's version.")
    source_age_days: Days | None


class PauseDocument(Document):
    """Why, since when and by whom a target is paused; without `until`, until it is resumed."""

    reason: Text
    since: Time
    by: Text
    until: Time | None

    @classmethod
    def of(cls, pause: Pause) -> PauseDocument:
        """Describe a pause."""
        return cls(reason=pause.reason, since=pause.since, by=pause.by, until=pause.until)


class FailedBuildDocument(Document):
    """Builds that fail with the same source and recipe: how often in a row, and the last error."""

    inputs: Text = Field(description="Names the source and the recipe.")
    count: Count
    code: Text
    message: Text
    run_id: Text
    last_at: Time

    @classmethod
    def of(cls, failed: FailedBuild) -> FailedBuildDocument:
        """Describe a failed build."""
        return cls.model_validate(failed, from_attributes=True)


class FailingDocument(FailedBuildDocument):
    """Builds that fail, and when the next one is tried."""

    retry_at: Time


class RunningDocument(Document):
    """The run in progress on this machine; `doing` is its step."""

    pid: int | None = None
    run_id: Text | None
    since: Time | None
    doing: Text | None


class UpdateDocument(Document):
    """A package of the promoted image that is newer in the archive, or the index of the agent."""

    package: Text
    source: Text
    installed: Text
    candidate: Text
    cves: tuple[Text, ...] = Field(description="CVE ids, where they are known.")
    security: bool = Field(description="Whether a security fix is among the newer versions.")
    since: Time | None = Field(description="When this machine saw it first.")
    not_brought: bool = Field(
        description="Whether it was offered when the image was built, and is not in it."
    )


class FreshnessDocument(Document):
    """What the archive has that the promoted image lacks, as of the last look."""

    image: Text
    checked_at: Time | None
    newest_index: Time | None = Field(description="Newest date of an index with security fixes.")
    security: tuple[UpdateDocument, ...]
    other: tuple[UpdateDocument, ...]
    held: tuple[UpdateDocument, ...] = Field(
        description="Kernel and boot loader, which come with a newer source image."
    )
    agent: tuple[UpdateDocument, ...] = Field(
        description="Distributions of the agent's Python, where it is not from packages."
    )
    warnings: tuple[Text, ...]
    unknown: Text | None = Field(description="Why it is not known; null where it is.")
    agent_unknown: Text | None = Field(
        None, description="The same for the agent alone: the packages are known."
    )

    @property
    def fixes(self) -> tuple[UpdateDocument, ...]:
        """Return the updates with a security fix that a build may take."""
        return (*self.security, *(each for each in self.agent if each.security))


class PlanDocument(Document):
    """What a run would do now, as far as the cloud was asked."""

    action: Literal["none", "build", "promote", "wait", "paused", "fail"] | None = None
    reasons: tuple[Text, ...] | None = None
    notes: tuple[Text, ...] | None = None
    source: SourceDocument | None = None
    repair: Text | None = Field(
        None, description="Id of the image that comes first, where Octavia finds none."
    )
    promote: Text | None = Field(None, description="Id of an image.")
    demote: tuple[Text, ...] | None = Field(None, description="Ids of images.")
    retire: tuple[Text, ...] | None = Field(None, description="Ids of images.")
    held_back_by: FailedBuildDocument | None = None
    octavia_release: Text | None = Field(
        None, description="Release of the control plane, or an interval, and how it is known."
    )
    freshness: FreshnessDocument | None = None
    error: ErrorDocument | None = Field(None, description="Why a run would fail.")


class NextRunDocument(PlanDocument):
    """The next run: when, and what it would do if it ran now."""

    at: Time | None = Field(description="Null where no worker runs on this machine.")
    trigger: Text | None = Field(description="How the worker determines the time, for people.")
    sentence: Annotated[Text, Field(min_length=1)]


class RunDocument(Document):
    """A past run in brief; `files` are the names of its log files."""

    run_id: Text
    target: Text
    action: Text
    outcome: Text
    by: Text | None = None
    order: Text | None = Field(None, description="The reason that a person gave.")
    reasons: tuple[Text, ...]
    notes: tuple[Text, ...]
    source: SourceDocument | None
    image_id: Text | None
    error: ErrorDocument | None
    started_at: Time
    seconds: Seconds
    steps: tuple[StepDocument, ...]
    files: tuple[Text, ...]


class TargetStatus(Document):
    """The status of one target, as `retrofit status` shows it."""

    target: Text
    state: State = Field(description="The state that matters most.")
    states: Annotated[tuple[State, ...], Field(min_length=1)]
    state_words: Text = Field(description="The state for people.")
    summary: Text
    cloud: Text | None
    cloud_name: Text | None = Field(None, description="cloud.name of the configuration.")
    region: Text | None = Field(None, description="cloud.region of the configuration.")
    project_id: Text | None
    tag: Text
    stale_after_days: Count | None = Field(
        None, description="publish.stale_after; null for `never`."
    )
    asked_at: Time | None = Field(
        description="When the cloud last answered: what it answered is of that moment."
    )
    cloud_error: ErrorDocument | None
    promoted: PromotedDocument | None
    octavia_image: Text | None = Field(description="Id of the image that Octavia selects.")
    images: Count | None
    image_states: dict[ImageState, Count] | None
    warnings: tuple[Text, ...]
    freshness: FreshnessDocument | None = Field(
        None, description="Null where nobody looked, or `freshness.check` is off."
    )
    paused: PauseDocument | None
    failing: FailingDocument | None
    running: RunningDocument | None
    next_run: NextRunDocument
    last_run: ReportDocument | None
    last_success_at: Time | None
    failing_since: Time | None
    failures_in_row: Count = Field(0, description="Runs that failed since the last success.")
    build_seconds: Seconds = Field(0.0, description="Duration of all builds here together.")
    build_durations: dict[str, Count] = Field(
        default_factory=dict,
        description="Builds by the seconds that they took at most: of each, the smallest bound.",
    )
    run_counts: dict[str, Count] = Field(description="Runs on this machine by outcome.")
    step_seconds: dict[str, Seconds] = Field(
        description="Duration of each step when a run last came to it."
    )


class TargetDetails(TargetStatus):
    """One target of the status document: with its amphorae and recent runs."""

    octavia_query: Text = Field("auto", description="octavia.query of the configuration.")
    image_list: tuple[ImageDocument, ...] = Field((), description="Amphora images, newest first.")
    amphorae: AuditDocument | None = Field(
        description="As `retrofit audit` prints it; null before the cloud has answered."
    )
    rollover: RolloverDocument | None = Field(
        None, description="The rollover as this machine saw it last; null where none was seen."
    )
    runs: tuple[RunDocument, ...] = Field(description="Newest first.")


class HealthDocument(Document):
    """Whether Octavia finds an image for every target, and each that is not paused had a
    successful run in time."""

    healthy: bool
    reasons: tuple[Text, ...]
    healthy_within_hours: int | None = Field(description="Null for `never`.")


class StatusDocument(Document):
    """The status of all targets: the answer of /api/v2/status.

    Within version 2 keys are only added. Times are ISO 8601 in UTC, durations are seconds, ages
    are days, sizes are bytes.
    """

    version: Literal[2]
    generated_at: Time
    retrofit_version: str
    host: str
    health: HealthDocument
    undelivered: Count = Field(description="Notifications that are queued, and not yet delivered.")
    targets: tuple[TargetDetails, ...]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the status document."""
    schema = StatusDocument.model_json_schema(mode="serialization")
    return {"$schema": DIALECT, **schema}
