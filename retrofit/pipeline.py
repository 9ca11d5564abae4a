"""One run, from top to bottom: plan, produce, promote, rotate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

import structlog

from retrofit.build.build import build
from retrofit.build.build_log import redact
from retrofit.build.recipe import recipe_for
from retrofit.build.request import Build
from retrofit.build.work_directory import remove_leftovers
from retrofit.cloud import Glance, MissingImageError, Removal
from retrofit.config import Settings, Target
from retrofit.errors import (
    BuildError,
    ConfigError,
    InterruptedRunError,
    SourceVanishedError,
    error_of,
)
from retrofit.model import Image, Source
from retrofit.observe.freshness import forget_unneeded
from retrofit.observe.target import observe_target, take_inventory
from retrofit.plan import (
    FailedBuild,
    Inventory,
    Machine,
    Plan,
    ids,
    pauses_on,
    plan,
    promoted_image,
)
from retrofit.plan.authorship import Authorship
from retrofit.plan.emergency import paused_emergency
from retrofit.plan.orders import ordered_since
from retrofit.produce.evidence import recover_evidence
from retrofit.produce.produce import produce
from retrofit.produce.run import Run
from retrofit.produce.shared_builds import SharedBuilds, shared_builds
from retrofit.publish.carry_over import carry_over
from retrofit.publish.evidence import is_orphan
from retrofit.publish.repair import repair
from retrofit.publish.rotate import (
    demote_others,
    promote,
    reject,
    require_octavia_selects,
    retire,
)
from retrofit.runner import changing, run_action
from retrofit.runs.machine import this_machine
from retrofit.runs.own_paths import claim_paths, is_own
from retrofit.runs.pauses import forget_locally, keep_locally, pause_of, standing_pause
from retrofit.runs.report import RunReport
from retrofit.runs.report_document import MissingFixesDocument
from retrofit.system.progress import Progress, silent
from retrofit.verify.request import Verify
from retrofit.verify.verify import verify

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
    with _shared_builds(targets, settings) as shared:
        for target in targets:
            report = run_once(
                target,
                settings,
                force=force,
                progress=progress,
                build=build,
                verify=verify,
                shared=shared,
            )
            yield report
            if isinstance(report.error, InterruptedRunError):
                return


def _shared_builds(
    targets: Sequence[Target], settings: Settings
) -> AbstractContextManager[SharedBuilds]:
    """Return what the runs share: nothing where paths.work is not ours, as each run reports."""
    try:
        claim_paths(settings.paths, "state", "work")
    except ConfigError:
        return nullcontext(SharedBuilds())
    return shared_builds(targets, settings.paths.work)


def run_once(
    target: Target,
    settings: Settings,
    *,
    force: bool = False,
    progress: Progress = silent,
    build: Build = build,
    verify: Verify = verify,
    shared: SharedBuilds | None = None,
) -> RunReport:
    """Bring one target up to date and report what was done; failures are in the report.

    However it ends, it leaves nothing behind but logs, and the promoted image stays promoted until
    a verified one is tagged beside it.
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
            shared=shared or SharedBuilds(),
        )
        _remove_leftovers(run)
        _run(run, force=force)

    return run_action(target, settings, "run", work)


def _run(run: Run, *, force: bool) -> None:
    glance = Glance.connect(run.target.cloud)
    try:
        _bring_up_to_date(run, glance, force=force)
    except SourceVanishedError as error:
        # The synchroniser replaces sources at any time; a second loss in one run is no accident.
        log.warning("source vanished, choosing once more", error=error.message)
        run.report.notes.append(f"{error.message}; chosen once more")
        _bring_up_to_date(run, glance, force=force)


def _bring_up_to_date(
    run: Run, glance: Glance, *, force: bool, repaired: Sequence[str] | None = None
) -> None:
    """Plan and act; `repaired` are the reasons of what this run promoted before, for want of any.

    It is empty where none of the images could be promoted, and None where it was not tried.
    """
    target, report = run.target, run.report
    with report.step("plan"):
        inventory = _with_evidence(run, glance, _taken_over(run, glance))
        facts = observe_target(
            target,
            run.settings,
            glance,
            recipe=run.recipe.digest,
            force=force,
            for_run=True,
            inventory=inventory,
        )
        planned = plan(facts, target)
    report.missing_fixes = _missing_fixes(planned)
    if planned.promoted is not None:
        report.image_id = planned.promoted.id
        report.image_created_at = planned.promoted.created_at
    if planned.pause is not None:
        report.outcome = "paused"
        report.reasons.append(planned.pause.phrase(target.name))
        _stay_paused(run, facts.inventory, planned)
        return
    _forget_pause(run)
    if planned.emergency is not None and repaired is None:
        with changing(target, run.settings):
            tried = repair(target, glance, report)
        if report.promoted:
            report.outcome = "published"
        if tried is not None and tried.candidates:
            # Images are not any more what was planned from: promoted, or found to be damaged.
            _bring_up_to_date(run, glance, force=force, repaired=report.reasons.copy())
            return
    if facts.presence is not None and facts.presence.changes:
        with suppress(MissingImageError):
            glance.update(facts.presence.image_id, facts.presence.changes)
    with report.step("clean-up"):
        _delete_unfinished_records(run, glance, planned)
    source, decision = planned.require()
    report.source = source
    report.reasons[:] = (*(repaired or ()), *decision.reasons)
    report.notes.extend((*planned.warnings, *decision.notes))
    if decision.held_back is not None:
        _hold_back(run, decision.held_back)
        return
    if decision.build:
        log.info("build decided", reasons=decision.reasons, source=source.version)
        chosen: Image | None = produce(
            run,
            glance,
            source,
            planned.require_provenance(),
            promoted=planned.promoted,
            freshness=planned.freshness,
        )
    else:
        chosen = decision.promote
    with changing(target, run.settings):
        order = ordered_since(facts.inventory, take_inventory(target, glance), target)
        if order is not None:
            _leave_to(order, chosen if decision.build else None, glance, report)
        elif chosen is None:
            _rotate_around_promoted(run, glance, planned, inventory.machine)
        else:
            _publish(run, glance, planned, chosen, inventory.machine)
            # Of a build only the next check can tell what it did not bring.
            report.missing_fixes = MissingFixesDocument() if decision.build else None


def _missing_fixes(planned: Plan) -> MissingFixesDocument | None:
    known = planned.freshness
    if known is None or known.offer is None:
        return None
    sources = tuple(update.source for update in known.fixes)
    return MissingFixesDocument(sources=sources, since=known.since(known.fixes))


def _publish(run: Run, glance: Glance, planned: Plan, chosen: Image, machine: Machine) -> None:
    target, report = run.target, run.report
    with report.step("promote"):
        promote(target, glance, report, chosen)
    with report.step("demote"):
        demote_others(target, glance, report, promoted=chosen.id, known_ids=planned.known_ids)
        require_octavia_selects(target, glance, report, chosen)
    with report.step("retire"):
        retire(target, glance, report, promoted=chosen.id, machine=machine)
    report.outcome = "published"


def _rotate_around_promoted(run: Run, glance: Glance, planned: Plan, machine: Machine) -> None:
    target, report = run.target, run.report
    source, _ = planned.require()
    report.reasons.append(_why_unchanged(planned, source))
    demote_others(target, glance, report, promoted=report.image_id, known_ids=planned.known_ids)
    retire(target, glance, report, promoted=report.image_id, machine=machine)
    report.outcome = "published" if report.promoted else "unchanged"


def _leave_to(order: Authorship, built: Image | None, glance: Glance, report: RunReport) -> None:
    """Let stand what a person ordered meanwhile: nothing is promoted, demoted or retired."""
    report.outcome = "unchanged"
    meanwhile = f"{order.phrase()}: that was ordered while this run was at work, and stands"
    if built is None:
        report.reasons.append(meanwhile)
        return
    report.reasons.append(
        f"image {built.id} was built, verified and uploaded, and is not promoted: {meanwhile};"
        f" `retrofit promote {built.id}` promotes it"
    )
    # As the order would have done, had the image been there: no run promotes it by itself.
    reject(glance, report, built)


def _taken_over(run: Run, glance: Glance) -> Inventory:
    """Return the inventory, once all images of ours record our present identity.

    In a pause nothing is written, not even that.
    """
    target, machine = run.target, this_machine(run.settings)
    inventory = take_inventory(target, glance, machine)
    if pause_of(inventory, target, run.settings.paths.state) is not None:
        return inventory
    if carry_over(inventory, target, glance, run.report):
        return take_inventory(target, glance, machine)
    return inventory


def _with_evidence(run: Run, glance: Glance, inventory: Inventory) -> Inventory:
    """Return the inventory, once the promoted image has evidence of its packages, if it can be.

    In a pause nothing is written.
    """
    target = run.target
    promoted = promoted_image(inventory, target)
    if promoted is None or pause_of(inventory, target, run.settings.paths.state) is not None:
        return inventory
    if recover_evidence(run, glance, promoted):
        return take_inventory(target, glance, inventory.machine)
    return inventory


def _stay_paused(run: Run, inventory: Inventory, planned: Plan) -> None:
    """Record a pause on this machine as well: the images that carry it may be deleted."""
    state, pause = run.settings.paths.state, planned.pause
    if planned.emergency is not None:
        run.report.emergency = planned.emergency.why
        run.report.notes.append(paused_emergency(planned.emergency, run.target))
    standing = standing_pause(inventory, run.target, state)
    run.report.notes.extend(standing.warnings(run.target.name))
    carriers = [image for image in inventory.ours(run.target) if pauses_on([image])]
    if carriers and pause is not None:
        with suppress(OSError):
            keep_locally(pause, carriers, run.target, state)


def _forget_pause(run: Run) -> None:
    """Remove this machine's record of a pause that is over, or was ended on another machine."""
    with suppress(OSError):
        forget_locally(run.target, run.settings.paths.state)


def _hold_back(run: Run, failed: FailedBuild) -> None:
    """End the run with the error of the failed one: its exit code shows that builds still fail."""
    retry_at = failed.retry_at(run.target.build)
    run.report.fail(
        error_of(
            failed.code,
            f"not tried again before {retry_at:%Y-%m-%d %H:%M} UTC: failed {failed.count} times"
            f" with this source and recipe, last in run {failed.run_id}: {failed.message}",
            hint=f"`retrofit --target {run.target.name} run-once --force` tries now; another source"
            " or recipe is tried at once",
        )
    )
    run.report.outcome = "backoff"


def _delete_unfinished_records(run: Run, glance: Glance, planned: Plan) -> None:
    for image in planned.clean_up:
        if not image.is_unfinished and not is_orphan(image, glance):
            continue
        if glance.delete(image.id) in {Removal.DELETED, Removal.GONE}:
            run.report.cleaned_up.append(image.id)
    if planned.clean_up:
        log.info("unfinished records deleted", image_ids=ids(planned.clean_up))


def _remove_leftovers(run: Run) -> None:
    def mask_log(run_id: str) -> None:
        # A run that died in a build had no time for that.
        with suppress(OSError):
            redact(run.settings.paths.logs / run_id / "build.log")

    if is_own(run.settings.paths, "cache"):
        forget_unneeded(run.settings)
    if not is_own(run.settings.paths, "work"):
        return  # it could not be made: the build reports that
    try:
        for done in remove_leftovers(run.work_root, on_dead_build=mask_log):
            log.info("leftover of a dead run removed", what=done)
    except OSError as error:
        raise BuildError(
            f"cannot prepare {error.filename}: {error.strerror}", hint="run as root"
        ) from error


def _why_unchanged(planned: Plan, source: Source) -> str:
    if planned.promoted is None:
        return "no image of this target is promoted; the notes give the reason"
    return (
        f"image {planned.promoted.id} is promoted and current:"
        f" source {source.product} {source.version}, same recipe"
    )
