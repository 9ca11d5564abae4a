"""One run: from what Glance shows to a promoted, verified, current amphora image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import structlog

from retrofit.cloud import Glance, Removal
from retrofit.config import Settings, Target
from retrofit.dib import build, recipe_for
from retrofit.dib.build_log import redact
from retrofit.dib.work_directory import sweep
from retrofit.errors import (
    BuildError,
    InterruptedRunError,
    SourceVanishedError,
    error_of,
)
from retrofit.making import Build, Run, Verify, made
from retrofit.model import Source
from retrofit.plan import FailedBuild, Plan, ids
from retrofit.progress import Progress, silent
from retrofit.recorded import recorded
from retrofit.report import RunReport
from retrofit.rotation import ask_as_octavia, demote_others, promote, retire
from retrofit.shelf import Shelf, shelf_for
from retrofit.survey import survey
from retrofit.verify import verify

log = structlog.get_logger(__name__)


def run_targets(
    targets: Sequence[Target],
    settings: Settings,
    *,
    force: bool = False,
    progress: Progress = silent,
    build: Build = build,
    verify: Verify = verify,
) -> Iterator[RunReport]:
    """Bring several targets up to date, one after the other; one that fails stops no other.

    Targets that ask for the same image get one build. An interruption ends the whole.
    """
    with shelf_for(targets, settings.paths.work) as shelf:
        for target in targets:
            report = run_once(
                target,
                settings,
                force=force,
                progress=progress,
                build=build,
                verify=verify,
                shelf=shelf,
            )
            yield report
            if isinstance(report.error, InterruptedRunError):
                return


def run_once(
    target: Target,
    settings: Settings,
    *,
    force: bool = False,
    progress: Progress = silent,
    build: Build = build,
    verify: Verify = verify,
    shelf: Shelf | None = None,
) -> RunReport:
    """Bring one target up to date and report what was done; failures are in the report.

    Whatever ends it, nothing of ours is left behind but logs, and what was promoted before stays
    promoted until a verified image stands beside it.
    """

    def work(report: RunReport) -> None:
        run = Run(
            target=target,
            settings=settings,
            recipe=recipe_for(target.build),
            report=report,
            progress=progress,
            build=build,
            verify=verify,
            shelf=shelf or Shelf(),
        )
        run.shelf.begin(run.recipe.digest)
        _clear_up(run)
        _run(run, force=force)

    return recorded(target, settings, "run", work)


def _run(run: Run, *, force: bool) -> None:
    glance = Glance.connect(run.target.cloud)
    try:
        _bring_up_to_date(run, glance, force=force)
    except SourceVanishedError as error:
        # The synchroniser replaces sources at any time; a second loss in one run is no accident.
        log.warning("source vanished, choosing once more", error=error.message)
        run.report.notes.append(f"{error.message}; chosen once more")
        _bring_up_to_date(run, glance, force=force)


def _bring_up_to_date(run: Run, glance: Glance, *, force: bool) -> None:
    target, report = run.target, run.report
    with report.step("plan"):
        planned = survey(target, run.settings, glance, recipe=run.recipe.digest, force=force)
    if planned.promoted is not None:
        report.image_id = planned.promoted.id
        report.image_created_at = planned.promoted.created_at
    if planned.pause is not None:
        report.outcome = "paused"
        report.reasons.append(planned.pause.phrase())
        return
    with report.step("sweep"):
        _sweep_records(run, glance, planned)
    source, decision = planned.require()
    report.source = source
    report.reasons[:] = decision.reasons
    report.notes.extend((*planned.warnings, *decision.notes))
    if decision.held_back is not None:
        _hold_back(run, decision.held_back)
        return
    if decision.build:
        log.info("build decided", reasons=decision.reasons, source=source.version)
        chosen = made(run, glance, source, planned.voucher)
    elif decision.promote is not None:
        chosen = decision.promote
    else:
        report.reasons.append(_why_unchanged(planned, source))
        demote_others(target, glance, report, promoted=report.image_id, seen=planned.seen)
        retire(target, glance, report, promoted=report.image_id)
        report.outcome = "unchanged"
        return
    with report.step("promote"):
        promote(target, glance, report, chosen)
    with report.step("demote"):
        demote_others(target, glance, report, promoted=chosen.id, seen=planned.seen)
        ask_as_octavia(target, glance, report, chosen)
    with report.step("retire"):
        retire(target, glance, report, promoted=chosen.id)
    report.outcome = "published"


def _hold_back(run: Run, failed: FailedBuild) -> None:
    """End the run as the failed one did: whoever watches exit codes sees that nothing is well."""
    retry_at = failed.retry_at(run.target.build)
    run.report.fail(
        error_of(
            failed.code,
            f"not tried again before {retry_at:%Y-%m-%d %H:%M} UTC: failed {failed.count} times"
            f" with this source and recipe, last in run {failed.run_id}: {failed.message}",
            hint="`retrofit run-once --force` tries now; another source or recipe is tried at once",
        )
    )
    run.report.outcome = "waiting"


def _sweep_records(run: Run, glance: Glance, planned: Plan) -> None:
    for image in planned.sweep:
        if glance.delete(image.id) in {Removal.DELETED, Removal.GONE}:
            run.report.swept.append(image.id)
    if planned.sweep:
        log.info("unfinished records swept", image_ids=ids(planned.sweep))


def _clear_up(run: Run) -> None:
    def mask_log(run_id: str) -> None:
        # Whoever died in a build had no time for that.
        with suppress(OSError):
            redact(run.settings.paths.logs / run_id / "build.log")

    try:
        for done in sweep(run.work_root, mourn=mask_log):
            log.info("leftover of a dead run removed", what=done)
    except OSError as error:
        raise BuildError(
            f"cannot prepare {error.filename}: {error.strerror}", hint="run as root"
        ) from error


def _why_unchanged(planned: Plan, source: Source) -> str:
    if planned.promoted is None:
        return "nothing of ours is promoted, and the notes say why that is left so"
    return (
        f"image {planned.promoted.id} is promoted and current:"
        f" source {source.product} {source.version}, same recipe"
    )
