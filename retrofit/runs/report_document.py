"""The report of a run as a JSON document: what `report.json`, the answers and the page have of it.

Its keys are a contract that only grows. A report on disk may be damaged, or of another version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from retrofit.archive.changes import PackageChange
from retrofit.documents import Seconds, Text, Time, TolerantDocument
from retrofit.errors import RetrofitError, error_of
from retrofit.model import Source, Verdict

Action = Literal[
    "run", "repair", "promote", "rollback", "retire", "adopt", "pause", "resume", "rollover"
]
RunOutcome = Literal[
    "published",
    "unchanged",
    "failed",
    "interrupted",
    "locked",
    "paused",
    "backoff",
    "promoted",
    "retired",
    "adopted",
    "resumed",
    "rolled_over",
    "postponed",
    "halted",
]
MoveOutcome = Literal["moved", "failed"]
OUTCOMES: tuple[RunOutcome, ...] = (
    "published",
    "unchanged",
    "failed",
    "interrupted",
    "locked",
    "paused",
    "backoff",
)
"""What a run can end with; `promoted`, `retired`, `adopted` and `resumed` are of commands,
`rolled_over`, `postponed` and `halted` of a rollover."""
SUCCEEDED = frozenset({"published", "unchanged"})
FAILED = frozenset({"failed", "backoff"})
INTERRUPTED: Literal["interrupted"] = "interrupted"
"""Outcome, and code of the error, of what an operator or the machine's end stopped."""
OLD_OUTCOMES: Mapping[str, RunOutcome] = {"busy": "locked", "waiting": "backoff"}
OLD_STEPS = {"sweep": "clean-up"}
"""Words of 0.1.0 -> those of today."""
LONGEST_STEP = 10**7
"""Seconds; longer than a step ever takes, and still a number that a date can be moved by."""
MOST_STEPS = 1000
MOST_MOVES = 10_000
"""Load balancers of a rollover that a report has: the last ones."""


class SourceDocument(TolerantDocument):
    """The source image of a run; `id` is that of the image in Glance, or the item's address."""

    id: Text | None = None
    product: Text = "unknown"
    version: Text = "unknown"

    @classmethod
    def of(cls, source: Source) -> Self:
        """Name a source."""
        return cls(id=source.id, product=source.product, version=source.version)


class StepDocument(TolerantDocument):
    """How long a step of a run took, in seconds."""

    name: Text
    seconds: Annotated[Seconds, Field(le=LONGEST_STEP)]

    @field_validator("name")
    @classmethod
    def _understand_old_steps(cls, name: str) -> str:
        return OLD_STEPS.get(name, name)


class ErrorDocument(TolerantDocument):
    """Why something failed: the code of the error's class, what happened, and what to do."""

    code: Text = "internal"
    message: Text = "unknown"
    hint: Text | None = None

    @classmethod
    def of(cls, error: RetrofitError) -> Self:
        """Describe an error."""
        return cls(code=error.code, message=error.message, hint=error.hint)

    def as_error(self) -> RetrofitError:
        """Return the error, of the class that the code names."""
        return error_of(self.code, self.message, hint=self.hint)


class CheckDocument(TolerantDocument):
    """One check of a verification: what was seen, and the seconds that it took."""

    name: Text = "unknown"
    outcome: Text = "unknown"
    detail: Text = ""
    seconds: Seconds = 0.0


class VerificationDocument(TolerantDocument):
    """What verification found: `how` is `offline`, or level and accelerator (`full-kvm`)."""

    how: Text = "unknown"
    passed: bool = False
    facts: dict[str, Text] = Field(default_factory=dict)
    checks: tuple[CheckDocument, ...] = ()

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """Describe a verdict."""
        return cls(
            how=verdict.how,
            passed=verdict.passed,
            facts=dict(verdict.facts),
            checks=tuple(
                CheckDocument(
                    name=check.name,
                    outcome=str(check.outcome),
                    detail=check.detail,
                    seconds=round(check.seconds, 1),
                )
                for check in verdict.checks
            ),
        )


class PackageDocument(TolerantDocument):
    """A package that differs between two images."""

    package: Text
    before: Text | None = Field(None, description="Version; null where it was not there.")
    after: Text | None = Field(None, description="Version; null where it is gone.")
    cves: tuple[Text, ...] = Field((), description="CVE ids that its changelog names as fixed.")

    @classmethod
    def of(cls, change: PackageChange) -> Self:
        """Return a change as JSON types."""
        return cls(
            package=change.package, before=change.before, after=change.after, cves=change.cves
        )


class MissingFixesDocument(TolerantDocument):
    """The security fixes that an image lacks, by the source packages that have them."""

    sources: tuple[Text, ...] = Field((), description="Source packages, one for each fix.")
    since: Time | None = Field(None, description="Since when the oldest is known here.")


class MoveDocument(TolerantDocument):
    """A load balancer whose failover a rollover asked for."""

    id: Text
    name: Text = ""
    outcome: Text = Field(description="`moved` or `failed`.")
    reason: Text = Field("", description="Why it was due, or why it failed.")
    seconds: Seconds = Field(0.0, description="From the request until it had settled.")


class ReportDocument(TolerantDocument):
    """What a run did and why; `outcome` is one of RunOutcome unless another version wrote it."""

    run_id: Text = Field(description="Id of the run: its time, and a random part.")
    target: Text = Field(description="Name of the target.")
    action: Text = Field(
        "run",
        description="`run`; `repair`, where Octavia found no image; or the command of an operator:"
        " `promote`, `rollback`, `retire`, `adopt`, `pause`, `resume`, `rollover`.",
    )
    by: Text | None = Field(None, description="Who ordered it, and on which host.")
    host: Text | None = Field(None, description="Name of the machine; null before 0.2.")
    version: Text | None = Field(None, description="Version of retrofit; null before 0.2.")
    order: Text | None = Field(None, description="The reason that a person gave by `--reason`.")
    emergency: Text | None = Field(
        None, description="Why Octavia found no image when it began; null where it found one."
    )
    outcome: Text = Field(description="How the run ended.")
    reasons: tuple[Text, ...] = Field(
        (), description="Why the run built or promoted, or why it did not."
    )
    notes: tuple[Text, ...] = Field((), description="Further facts for an operator.")
    source: SourceDocument | None = Field(
        None, description="The source image, once one was chosen."
    )
    trust: Text | None = Field(
        None, description="What vouched for the source: `owner`, `digest` or `signed`."
    )
    image_id: Text | None = Field(
        None, description="The image that was promoted when the run ended, as far as it knew."
    )
    image_created_at: Time | None = Field(None, description="Creation of that image.")
    promoted: tuple[Text, ...] = Field((), description="Ids of images that the run promoted.")
    demoted: tuple[Text, ...] = Field((), description="Ids of images that it demoted.")
    retired: tuple[Text, ...] = Field((), description="Ids of images that it deleted.")
    cleaned_up: tuple[Text, ...] = Field(
        (), description="Ids of unfinished records of dead runs that it deleted."
    )
    adopted: tuple[Text, ...] = Field(
        (), description="Ids of images that got the identity of this target, by proof or by hand."
    )
    packages: tuple[PackageDocument, ...] = Field(
        (), description="Packages in which the image that it built differs from the one before."
    )
    missing_fixes: MissingFixesDocument | None = Field(
        None,
        description="Security fixes that the promoted image lacked when the run ended, as far as it"
        " knew; null where that is not known.",
    )
    load_balancers: tuple[MoveDocument, ...] = Field(
        (), description="Load balancers whose failover a rollover asked for, in order."
    )
    halted: bool = Field(False, description="Whether a rollover halted here.")
    started_at: Time = Field(description="Start of the run.")
    seconds: Seconds = Field(0.0, description="Duration of all steps.")
    steps: tuple[StepDocument, ...] = Field(
        (), description="The steps, in order.", max_length=MOST_STEPS
    )
    verification: VerificationDocument | None = Field(
        None, description="Every check of the verification."
    )
    error: ErrorDocument | None = Field(None, description="Why the run ended early.")
    log_dir: Text = Field("", description="Directory of the run's logs.")

    @model_validator(mode="before")
    @classmethod
    def _understand_old_keys(cls, record: Any) -> Any:
        """Read what 0.1.0 wrote: `swept` for `cleaned_up`."""
        if isinstance(record, Mapping) and "swept" in record:
            return {"cleaned_up": record["swept"], **record}
        return record

    @field_validator("outcome")
    @classmethod
    def _understand_old_outcomes(cls, outcome: str) -> str:
        return OLD_OUTCOMES.get(outcome, outcome)

    @model_validator(mode="after")
    def _understand_interrupted_runs(self) -> Self:
        """Read what 0.1.0 wrote: a run that an operator ended counted as failed."""
        if self.outcome == "failed" and self.error is not None and self.error.code == INTERRUPTED:
            return self.model_copy(update={"outcome": INTERRUPTED})
        return self

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a report; None for a file that is not there, or is no report."""
        try:
            return cls.model_validate(json.loads(path.read_text()))
        except (OSError, ValueError, RecursionError):
            return None

    @property
    def is_run(self) -> bool:
        """Return True for a run of the pipeline, False for what an operator did by a command."""
        return self.action == "run"

    @property
    def is_success(self) -> bool:
        """Return True if a run left its target with a current image."""
        return self.is_run and self.outcome in SUCCEEDED

    @property
    def is_conclusive(self) -> bool:
        """Return True if a run shows how the target is; one that an operator stopped does not."""
        return self.is_run and self.outcome in SUCCEEDED | FAILED

    @property
    def is_failure(self) -> bool:
        """Return True if a run failed; one that an operator stopped did not."""
        return (
            self.is_run
            and self.outcome in FAILED
            and self.error is not None
            and self.error.code != INTERRUPTED
        )

    @property
    def duration(self) -> timedelta:
        """Return how long all steps took together."""
        return timedelta(seconds=sum(step.seconds for step in self.steps))
