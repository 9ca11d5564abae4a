"""From facts and a clock to the status document; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from retrofit import __version__
from retrofit.config import Settings, Target
from retrofit.config.numbers import NEVER, days, hours
from retrofit.plan import ImageState
from retrofit.runs.report_document import ReportDocument
from retrofit.status.facts import CloudFacts, LocalFacts
from retrofit.status.models import (
    STATES,
    VERSION,
    HealthDocument,
    ImageDocument,
    NextRunDocument,
    PauseDocument,
    PromotedDocument,
    RunDocument,
    State,
    StatusDocument,
    TargetDetails,
    TargetStatus,
)
from retrofit.status.sentences import next_sentence, summary
from retrofit.times import days_between, iso


def status_document(
    settings: Settings,
    cloud: Mapping[str, CloudFacts],
    local: Mapping[str, LocalFacts],
    *,
    now: datetime,
    host: str,
    since: datetime | None = None,
    undelivered: int = 0,
) -> StatusDocument:
    """Return the status of all targets.

    `since` is when the process that serves the document began: no earlier success is asked for.
    """
    targets = tuple(
        target_details(
            target,
            settings,
            cloud.get(target.name, CloudFacts()),
            local.get(target.name, LocalFacts()),
            now=now,
        )
        for target in settings.targets
    )
    return StatusDocument(
        version=VERSION,
        generated_at=now,
        retrofit_version=__version__,
        host=host,
        health=health(targets, settings, now=now, since=since or now),
        undelivered=undelivered,
        targets=targets,
    )


def target_details(
    target: Target, settings: Settings, cloud: CloudFacts, local: LocalFacts, *, now: datetime
) -> TargetDetails:
    """Return the status of one target with its amphorae and recent runs."""
    return TargetDetails(
        **dict(target_status(target, settings, cloud, local, now=now)),
        octavia_query=target.octavia.query,
        image_list=() if cloud.target is None else cloud.target.images,
        amphorae=cloud.audit,
        rollover=local.rollover,
        runs=tuple(
            run_document(report, local.files.get(report.run_id, ())) for report in local.reports
        ),
    )


def target_status(
    target: Target, settings: Settings, cloud: CloudFacts, local: LocalFacts, *, now: datetime
) -> TargetStatus:
    """Return the status of one target, as `retrofit status` shows it."""
    known, history = cloud.target, local.history
    promoted = None if known is None else _aged(known.promoted, now)
    paused = None if known is None else _in_force(known.paused, now)
    success = _last_success(local)
    states = states_of(
        target, settings, cloud, local, promoted=promoted, paused=paused, success=success, now=now
    )
    stale_after = target.publish.stale_after
    status = TargetStatus(
        target=target.name,
        state=states[0],
        states=states,
        state_words=STATES[states[0]],
        summary="",
        cloud=target.cloud.name if known is None else known.cloud,
        project_id=None if known is None else known.project_id,
        cloud_name=target.cloud.name,
        region=target.cloud.region,
        tag=target.publish.tag,
        stale_after_days=None if stale_after == "never" else stale_after,
        asked_at=cloud.asked_at,
        cloud_error=cloud.error,
        promoted=promoted,
        octavia_image=None if known is None else known.octavia_image,
        images=None if known is None else len(known.images),
        image_states=None if known is None else image_states(known.images),
        warnings=() if known is None else known.warnings,
        freshness=cloud.plan.freshness,
        paused=paused,
        failing=None if known is None else known.failing,
        running=local.running,
        next_run=_next_run(cloud, local, now),
        last_run=next((report for report in local.reports if report.is_run), None),
        last_success_at=success,
        failing_since=history.failing_since,
        failures_in_row=history.failures_in_row,
        build_seconds=history.build_seconds,
        build_durations=history.build_durations,
        run_counts=history.run_counts,
        step_seconds=history.step_seconds,
    )
    limit = target.publish.stale_after
    return status.model_copy(update={"summary": summary(status, stale_after=limit, now=now)})


def states_of(
    target: Target,
    settings: Settings,
    cloud: CloudFacts,
    local: LocalFacts,
    *,
    promoted: PromotedDocument | None,
    paused: PauseDocument | None,
    success: datetime | None,
    now: datetime,
) -> tuple[State, ...]:
    """Return all states that a target is in, the one that matters most first."""
    conclusive = next((each for each in local.reports if each.is_conclusive), None)
    outcome = None if conclusive is None else conclusive.outcome
    known = cloud.asked_at is not None
    has_run = conclusive is not None or success is not None
    is_old = promoted is not None and timedelta(days=promoted.age_days) >= days(
        target.publish.stale_after
    )
    limit = hours(settings.web.healthy_within)
    is_late = has_run and not paused and (success is None or now - success > limit)
    # Another machine may have made the images, or this one lost its records.
    had_one = has_run or (cloud.target is not None and bool(cloud.target.images))
    found: dict[State, bool] = {
        "no_image": known and promoted is None and had_one,
        "running": local.running is not None,
        "cloud_unreachable": cloud.error is not None,
        "paused": paused is not None,
        "failed": outcome == "failed",
        "backoff": outcome == "backoff",
        "never_run": known and promoted is None and not had_one,
        "stale": is_old or is_late,
    }
    states = tuple(state for state, applies in found.items() if applies)
    return states or (("ok",) if known else ("cloud_unreachable",))


def health(
    targets: Sequence[TargetStatus], settings: Settings, *, now: datetime, since: datetime
) -> HealthDocument:
    """Return whether Octavia finds an image for every target, and runs succeed in time.

    A paused target is excused of runs, not of an image: no load balancer can start without one.
    """
    most, reasons = settings.web.healthy_within, []
    for each in targets:
        if "no_image" in each.states and each.octavia_image is None:
            reasons.append(f"{each.target}: Octavia finds no image with the tag {each.tag}")
        success = each.last_success_at
        # A worker that just began to look has not seen what was forgotten before.
        if each.paused or now - (success or since) <= hours(most):
            continue
        ago = f"since {iso(success)}" if success else f"since this worker began at {iso(since)}"
        reasons.append(
            f"{each.target}: no successful run {ago}, which is more than {most} hours"
            f" ago ({each.summary})"
        )
    return HealthDocument(
        healthy=not reasons,
        reasons=tuple(reasons),
        healthy_within_hours=None if most == NEVER else most,
    )


def image_states(images: Iterable[ImageDocument]) -> dict[ImageState, int]:
    """Count amphora images by their state; every state has a count."""
    counts = Counter(image.state for image in images)
    return {state: counts[state] for state in ImageState}


def source_published(image: ImageDocument) -> datetime | None:
    """Return the day of an image's source: simplestreams versions begin with it."""
    digits = (image.source_version_name or "")[:8]
    try:
        return datetime.strptime(f"{digits}+0000", "%Y%m%d%z")
    except ValueError:
        return None


def run_document(report: ReportDocument, files: Iterable[str]) -> RunDocument:
    """Return a past run in brief."""
    return RunDocument(
        run_id=report.run_id,
        target=report.target,
        action=report.action,
        outcome=report.outcome,
        by=report.by,
        order=report.order,
        reasons=report.reasons,
        notes=report.notes,
        source=report.source,
        image_id=report.image_id,
        error=report.error,
        started_at=report.started_at,
        seconds=round(report.duration.total_seconds(), 1),
        steps=report.steps,
        files=tuple(files),
    )


def _aged(image: ImageDocument | None, now: datetime) -> PromotedDocument | None:
    """Count ages at `now`: the cloud may have been asked some time ago."""
    if image is None:
        return None
    published = source_published(image)
    aged = image.model_copy(update={"age_days": days_between(image.created_at, now)})
    return PromotedDocument(
        **dict(aged),
        source_published_at=published,
        source_age_days=None if published is None else days_between(published, now),
    )


def _next_run(cloud: CloudFacts, local: LocalFacts, now: datetime) -> NextRunDocument:
    schedule = local.schedule
    at = None if schedule is None else schedule.next_run
    return NextRunDocument(
        **dict(cloud.plan),
        at=at,
        trigger=None if schedule is None else schedule.trigger,
        sentence=next_sentence(cloud.plan, at=at, now=now),
    )


def _last_success(local: LocalFacts) -> datetime | None:
    """Return when a run last succeeded, from the history or else from the logs that are kept."""
    if local.history.last_success_at:
        return local.history.last_success_at
    report = next((each for each in local.reports if each.is_success), None)
    return None if report is None else report.started_at + report.duration


def _in_force(pause: PauseDocument | None, now: datetime) -> PauseDocument | None:
    """Drop a pause that ended since the cloud was asked."""
    ended = pause is not None and pause.until is not None and pause.until <= now
    return None if ended else pause
