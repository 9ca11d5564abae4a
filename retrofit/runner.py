"""The frame around everything that changes a target: its lock, its report, its log directory."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import structlog

from retrofit.config import Settings, Target
from retrofit.errors import (
    BuildError,
    ConfigError,
    InterruptedRunError,
    PublishError,
    RetrofitError,
)
from retrofit.interrupts import GivingUp
from retrofit.lock import held
from retrofit.notify import conclude
from retrofit.places import make_places
from retrofit.report import Action, RunReport
from retrofit.run_logs import prune, story_kept, write_report
from retrofit.shortage import told_as

log = structlog.get_logger(__name__)

PUBLISHING = frozenset({"upload", "promote", "demote", "retire"})
"""Steps of a run."""


def recorded(
    target: Target, settings: Settings, action: Action, work: Callable[[RunReport], None]
) -> RunReport:
    """Do `work` with the target's lock held, and report how it ended; failures are in the report.

    What ends by another run's lock leaves no log directory.
    """
    report = _new_report(target, settings, action)
    make_places(settings.paths.state)
    with structlog.contextvars.bound_contextvars(run_id=report.run_id, target=target.name):
        try:
            _locked(target, settings, report, work)
            _leave(report, settings)
        except KeyboardInterrupt:
            # After all was done; a second one does not come.
            _leave(report, settings)
            raise
        conclude(report.as_dict(), settings)
    return report


def _locked(
    target: Target, settings: Settings, report: RunReport, work: Callable[[RunReport], None]
) -> None:
    try:
        with held(settings.lock, settings.paths.state, target.name):
            make_places(settings.paths.cache, settings.paths.work, settings.paths.logs)
            _make_log_directory(report)
            with story_kept(report.log_dir):
                _guarded(report, work)
                _summarise(report)
    except RetrofitError as error:  # of the lock, or of what is needed before the work
        report.fail(error)
        _summarise(report)
    except KeyboardInterrupt:
        report.fail(_interrupted(report))
        _summarise(report)


def _leave(report: RunReport, settings: Settings) -> None:
    """Leave the report of a run that had the lock, and prune those of others."""
    if report.outcome != "busy":
        write_report(report)
        prune(settings.paths.logs, keep=settings.paths.keep_logs)


def _guarded(report: RunReport, work: Callable[[RunReport], None]) -> None:
    try:
        with told_as(partial(_short_of_something, report), partial(_what_was_done, report)):
            work(report)
    except RetrofitError as error:
        report.fail(error)
    except GivingUp:
        raise  # the lock's doing, and its to explain
    except KeyboardInterrupt:
        report.fail(_interrupted(report))
    except Exception as error:
        log.exception("failed by a bug", action=report.action)
        report.fail(RetrofitError(f"{type(error).__name__}: {error}"))


def _short_of_something(report: RunReport, message: str, *, hint: str) -> RetrofitError:
    """Make the error of the part that it kept from being done: the build, or the publishing."""
    done = {name for name, _ in report.steps}
    publishing = report.action != "run" or not done.isdisjoint(PUBLISHING)
    return (PublishError if publishing else BuildError)(message, hint=hint)


def _what_was_done(report: RunReport) -> str:
    return f"finish the {report.action} after {_last_step(report)}"


def _last_step(report: RunReport) -> str:
    return report.steps[-1][0] if report.steps else "its start"


def _interrupted(report: RunReport) -> InterruptedRunError:
    return InterruptedRunError(
        f"the {report.action} was interrupted during {_last_step(report)}",
        hint="nothing was left half done; run again when convenient",
    )


def _new_report(target: Target, settings: Settings, action: Action) -> RunReport:
    now = datetime.now(UTC)
    # The fraction of the second comes first in what follows: ids sort as their runs began.
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond >> 12:02x}{secrets.token_hex(2)}"
    return RunReport(
        run_id=run_id, target=target.name, action=action, log_dir=settings.paths.logs / run_id
    )


def _make_log_directory(report: RunReport) -> None:
    try:
        report.log_dir.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make {report.log_dir}: {error.strerror}",
            hint="run as root, or set paths.logs",
        ) from error


def _summarise(report: RunReport) -> None:
    facts = {
        "action": report.action,
        "outcome": report.outcome,
        "reasons": report.reasons,
        "image_id": report.image_id,
        "seconds": round(sum(seconds for _, seconds in report.steps), 1),
    }
    if report.error is None:
        log.info("run ended", **facts)
    else:
        log.error("run ended", **facts, error=report.error.message, hint=report.error.hint)
