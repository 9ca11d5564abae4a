"""The frame around everything that changes a target: its lock, its report, its log directory."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial

import structlog

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.errors import (
    BuildError,
    ConfigError,
    InterruptedRunError,
    LockedError,
    PublishError,
    RetrofitError,
)
from retrofit.lock.lock import changes_held, held
from retrofit.lock.names import shared_name
from retrofit.notify import record_end_of_run
from retrofit.runs.directory import prune, write_report
from retrofit.runs.events import events_kept
from retrofit.runs.own_paths import claim_paths, claim_state, is_own
from retrofit.runs.report import RunReport
from retrofit.runs.report_document import Action, RunOutcome
from retrofit.runs.running import running_run
from retrofit.runs.who import this_person
from retrofit.system.resource_errors import resource_errors_as, way_out
from retrofit.system.signals import AbortedByThreadError
from retrofit.system.umask import private_files

log = structlog.get_logger(__name__)

PUBLISHING = frozenset({"upload", "promote", "demote", "retire"})
"""Steps of a run."""
WAIT = 30.0
"""Seconds that a command waits for another change of the same target: a run's last steps."""
RUN_WAIT = 900.0
"""Seconds that a run waits for a person's change: one reads all bytes of an image."""


def run_action(
    target: Target,
    settings: Settings,
    action: Action,
    work: Callable[[RunReport], None],
    *,
    order: str | None = None,
    wait: float = WAIT,
    lock: AbstractContextManager[object] | None = None,
    keep: Callable[[RunReport], bool] = lambda _report: True,
) -> RunReport:
    """Do `work` with a lock of the target held, and return the report; failures are in the report.

    A run has the lock of runs, and takes that of changes where it changes what Octavia finds; the
    rest has that of changes alone, and needs not wait for a build. `order` is the reason that a
    person gave, `wait` the seconds to wait for another change. Another `lock` may be given in place
    of both. Without the lock nothing is done, and no log directory is left; nor is one where `keep`
    returns False at the end: nothing happened that the history has to show.
    """
    report = _new_report(target, settings, action, order)
    if lock is None and action == "run":
        lock = run_lock(target, settings)
    elif lock is None:
        lock = changing(target, settings, wait=wait)
    try:
        claim_state(settings.paths)
    except ConfigError as error:
        # Nothing may be written there, not even how this ended.
        report.fail(error)
        _summarise(report)
        return report
    with (
        structlog.contextvars.bound_contextvars(
            run_id=report.run_id, target=target.name, action=action
        ),
        private_files(),
    ):
        try:
            _locked(lock, report, work, settings)
            if not keep(report):
                _drop_log_directory(report)
                return report
            _write_and_prune(report, settings)
        except KeyboardInterrupt:
            # After all was done; a second one does not come.
            _write_and_prune(report, settings)
            raise
        record_end_of_run(report.document(), settings)
    return report


def note_action(
    target: Target, settings: Settings, action: Action, *, outcome: RunOutcome, why: str
) -> None:
    """Write down what a person did that changes no image: `history` shows it.

    What keeps us from that is logged: it was done all the same.
    """
    report = _new_report(target, settings, action, None)
    report.outcome = outcome
    report.reasons.append(why)
    try:
        claim_paths(settings.paths, "logs")
        with private_files():
            _make_log_directory(report)
            write_report(report)
    except (ConfigError, OSError) as error:
        log.warning("action not written into the history", action=action, error=str(error))


def changing(
    target: Target, settings: Settings, *, wait: float = RUN_WAIT
) -> AbstractContextManager[None]:
    """Return the lock under which what Octavia finds is decided and changed.

    Raises LockedError after `wait` seconds.
    """
    name = partial(shared_lock_name, target)
    return changes_held(settings.lock, settings.paths.state, target.name, name, wait=wait)


def run_lock(target: Target, settings: Settings) -> AbstractContextManager[object]:
    name = partial(shared_lock_name, target)
    return held(settings.lock, settings.paths.state, target.name, name)


def _locked(
    lock: AbstractContextManager[object],
    report: RunReport,
    work: Callable[[RunReport], None],
    settings: Settings,
) -> None:
    try:
        with lock:
            claim_paths(settings.paths, "logs", "work", "cache")
            _make_log_directory(report)
            with events_kept(report.log_dir):
                _guarded(report, work)
                _summarise(report)
    except RetrofitError as error:  # of the lock, or of what is needed before the work
        report.fail(_with_holder(error, report, settings))
        _summarise(report)
    except KeyboardInterrupt:
        report.fail(_interrupted(report))
        _summarise(report)


def _with_holder(error: RetrofitError, report: RunReport, settings: Settings) -> RetrofitError:
    """Name the run of this machine that holds the lock, since when, and at which step."""
    paths = settings.paths
    if not isinstance(error, LockedError) or report.action != "run":
        return error
    found = running_run(paths.state, paths.logs, report.target)
    if found is None or found.pid == os.getpid():
        return error
    return LockedError(f"{error.message}: {found.phrase()}", hint=error.hint)


def shared_lock_name(target: Target) -> bytes:
    """Return the name of a target's lock on a server. Raises ConfigError, CloudError."""
    glance = Glance.connect(target.cloud)
    return shared_name(
        project_id=glance.project_id,
        region=glance.region,
        tag=target.publish.tag,
        target=target.name,
    )


def _write_and_prune(report: RunReport, settings: Settings) -> None:
    """Write the report of a run that had the lock, and prune those of others."""
    if report.outcome != "locked" and is_own(settings.paths, "logs"):
        write_report(report)
        prune(settings.paths.logs, keep=settings.paths.keep_logs)


def _guarded(report: RunReport, work: Callable[[RunReport], None]) -> None:
    try:
        with resource_errors_as(
            partial(_resource_error, report), partial(_unfinished_work, report)
        ):
            work(report)
    except RetrofitError as error:
        report.fail(error)
    except AbortedByThreadError:
        raise  # by the lock, which reports why
    except KeyboardInterrupt:
        report.fail(_interrupted(report))
    except Exception as error:
        log.exception("internal error", action=report.action)
        report.fail(RetrofitError(f"{type(error).__name__}: {error}"))


def _resource_error(report: RunReport, message: str, *, hint: str) -> RetrofitError:
    """Return the error of the part that could not be done: the build, or the publishing."""
    done = {name for name, _ in report.steps}
    publishing = report.action != "run" or not done.isdisjoint(PUBLISHING)
    return (PublishError if publishing else BuildError)(message, hint=hint)


def _unfinished_work(report: RunReport) -> str:
    return f"finish the {report.action} after {_last_step(report)}"


def _last_step(report: RunReport) -> str:
    return report.steps[-1][0] if report.steps else "its start"


def _interrupted(report: RunReport) -> InterruptedRunError:
    return InterruptedRunError(
        f"the {report.action} was interrupted during {_last_step(report)}",
        hint="nothing was left half done; run again when convenient",
    )


def _new_report(target: Target, settings: Settings, action: Action, order: str | None) -> RunReport:
    now = datetime.now(UTC)
    # The fraction of the second comes first in what follows: ids sort as their runs began.
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond >> 12:02x}{secrets.token_hex(2)}"
    return RunReport(
        run_id=run_id,
        target=target.name,
        action=action,
        by=this_person(),
        order=order,
        log_dir=settings.paths.logs / run_id,
    )


def _make_log_directory(report: RunReport) -> None:
    try:
        report.log_dir.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make {report.log_dir}: {error.strerror}",
            hint=way_out(error, "paths.logs"),
        ) from error


def _drop_log_directory(report: RunReport) -> None:
    """Remove the directory of an action that did nothing. What is left of it is pruned later."""
    shutil.rmtree(report.log_dir, ignore_errors=True)


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
        return
    # Somebody ended it, and nothing is broken: no alarm of the journal for that.
    tell = log.warning if report.outcome == "interrupted" else log.error
    tell("run ended", **facts, error=report.error.message, hint=report.error.hint)
