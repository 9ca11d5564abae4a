"""The status of targets in plain sentences; pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from textwrap import shorten

from retrofit.config.numbers import Period, days
from retrofit.plan.freshness import phrase_of_fixes
from retrofit.status.models import PauseDocument, PlanDocument, State, TargetStatus

LONGEST = 300
"""Letters of a message that a sentence repeats; the report has all of it."""
HOW_VERIFIED = {
    "full-kvm": "verified by booting it and asking all that load balancers ask",
    "full-tcg": "verified by booting it and asking all that load balancers ask",
    "boot-kvm": "verified by booting it",
    "boot-tcg": "verified by booting it",
    "offline": "verified by looking inside",
}

SILENCE = {
    "cloud-denied": "The cloud refuses the credentials",
    "config": "The cloud is not configured",
    "internal": "The cloud was not asked",
}
"""Code of the error -> why nothing new is known of a cloud; else it does not answer."""


def summary(status: TargetStatus, *, stale_after: Period, now: datetime) -> str:
    """Return the status of a target in one or two sentences; `stale_after` is in days."""
    image = _image(status, now)
    if status.state == "no_image":
        others = [state for state in status.states if state not in {"no_image", "stale"}]
        return _beside(image, others[0], status, now) if others else image
    match status.state:
        case "ok" | "never_run":
            return image
        case "running":
            return f"{_running(status, now)} {image}"
        case "cloud_unreachable":
            return _unreachable(status, image, now)
        case "paused":
            return f"{_paused(status.paused, status.target)} {image}"
        case "failed":
            return f"The last run failed: {_last_error(status)} {image}"
        case "backoff":
            return f"{_backoff(status)} {image}"
        case "stale":
            return f"{_stale(status, stale_after, now)} {image}"


def _beside(image: str, other: State, status: TargetStatus, now: datetime) -> str:
    """Return that there is no image, and what keeps a run from mending that."""
    match other:
        case "running":
            return f"{image} {_running(status, now)}"
        case "paused":
            pause = _paused(status.paused, status.target)
            return f"{image} {pause} No run promotes one before that."
        case "failed":
            return f"{image} The last run failed: {_last_error(status)}"
        case "backoff":
            return f"{image} {_backoff(status)}"
        case _:
            return _unreachable(status, image, now)


def next_sentence(plan: PlanDocument, *, at: datetime | None, now: datetime) -> str:
    """Return when the next run is, what it will do, and why."""
    if at is None:
        start = "No worker runs here: the next run, by a timer or a person,"
    elif at <= now:
        start = "The next run, due now,"
    else:
        start = f"The next run, at {clock(at, now)},"
    why = "; ".join(plan.reasons or ())
    if plan.repair and plan.action == "build":
        return f"{start} promotes image {plan.repair}, then builds a new image: {why}."
    match plan.action:
        case "build":
            return f"{start} builds a new image: {why}."
        case "promote":
            return f"{start} promotes image {plan.promote}: {why}."
        case "paused":
            return f"{start} does nothing, as the target is paused."
        case "wait":
            return f"{start} waits: builds from this source and recipe fail."
        case "fail":
            error = plan.error.message if plan.error else "unknown error"
            return f"{start} fails: {_sentence(error)}"
        case "none":
            return f"{start} finds nothing to do: the promoted image is current."
        case None:
            return f"{start} decides when the cloud answers."


def clock(when: datetime, now: datetime) -> str:
    """Return a time in UTC, without the date if that is today."""
    return f"{when:%H:%M} UTC" if when.date() == now.date() else f"{when:%Y-%m-%d %H:%M} UTC"


def age(days: float | None) -> str:
    """Return an age: in minutes below two hours, in hours below two days, then in days."""
    if days is None:
        return "of unknown age"
    if days < 0:
        return "from the future"
    minutes = round(days * 86400) // 60
    number, unit = minutes // 1440, "day"
    if minutes < 120:
        number, unit = minutes, "minute"
    elif minutes < 2 * 1440:
        number, unit = minutes // 60, "hour"
    return f"{number} {unit}{'' if number == 1 else 's'} old"


def _lacks(status: TargetStatus, now: datetime) -> str:
    """Return which security fixes the promoted image lacks; nothing where it lacks none."""
    known = status.freshness
    if known is None:
        return ""
    if known.checked_at is None:
        return " It is not known which security fixes it lacks."
    fixes = known.fixes
    if not fixes:
        return ""
    oldest = min((fix.since for fix in fixes if fix.since is not None), default=None)
    return f" It lacks {phrase_of_fixes([fix.source for fix in fixes], oldest, now=now)}."


def _image(status: TargetStatus, now: datetime) -> str:
    image = status.promoted
    if image is not None:
        how = HOW_VERIFIED.get(image.retrofit_verification or "", "not verified")
        return f"{image.name} is promoted, {age(image.age_days)}, {how}.{_lacks(status, now)}"
    if status.asked_at is None:
        return "The promoted image is not known yet."
    if status.octavia_image:
        return f"No image of this target is promoted; Octavia selects {status.octavia_image}."
    if "never_run" in status.states:
        return "No run has been made yet, and no image is promoted: no load balancer can start."
    return "No image is promoted: no load balancer can start."


def _running(status: TargetStatus, now: datetime) -> str:
    running = status.running
    since = f" since {clock(running.since, now)}" if running and running.since else ""
    step = f", now at the step {running.doing}" if running and running.doing else ""
    after = " The run before failed." if {"failed", "backoff"} & set(status.states) else ""
    return f"A run is in progress{since}{step}.{after}"


def _unreachable(status: TargetStatus, image: str, now: datetime) -> str:
    if status.cloud_error is None:
        return "The cloud has not been asked yet."
    what = SILENCE.get(status.cloud_error.code, "The cloud does not answer")
    error = f"{what}: {_sentence(status.cloud_error.message)}"
    if status.asked_at is None:
        last = status.last_run
        if last is None or last.image_id is None:
            return error
        when = clock(last.started_at + last.duration, now)
        return f"{error} The last run here, at {when}, left image {last.image_id} promoted."
    return f"{error} At {clock(status.asked_at, now)}: {image}"


def _paused(pause: PauseDocument | None, target: str) -> str:
    if pause is None:
        return "Paused."
    until = pause.until
    end = (
        f"until {until:%Y-%m-%d %H:%M} UTC"
        if until
        else f"until `retrofit --target {target} resume`"
    )
    return f"Paused by {pause.by} {end}: {_sentence(pause.reason)}"


def _backoff(status: TargetStatus) -> str:
    failing = status.failing
    if failing is None:
        return f"Builds fail: {_last_error(status)}"
    return (
        f"Builds fail ({failing.count} times), tried again from"
        f" {failing.retry_at:%Y-%m-%d %H:%M} UTC: {_sentence(failing.message)}"
    )


def _stale(status: TargetStatus, stale_after: Period, now: datetime) -> str:
    if status.promoted is not None and _is_old(status.promoted.age_days, stale_after):
        return f"The promoted image is older than {stale_after} days."
    success = status.last_success_at
    since = f"since {clock(success, now)}" if success else "that is known here"
    return f"No run has succeeded {since}."


def _is_old(age_days: float, stale_after: Period) -> bool:
    return timedelta(days=age_days) >= days(stale_after)


def _last_error(status: TargetStatus) -> str:
    error = status.last_run.error if status.last_run else None
    return _sentence(error.message if error else "unknown error")


def _sentence(text: str) -> str:
    """Give a message its full stop, and one line of a length that people read."""
    line = shorten(text, width=LONGEST, placeholder=" ...")
    return line if line.endswith((".", "!", "?")) else f"{line}."
