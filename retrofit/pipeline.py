"""One run: from what Glance shows to a promoted, verified, current amphora image."""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from retrofit.cloud import Glance, Removal
from retrofit.config import Settings, Target
from retrofit.dib import Recipe, build, recipe_for
from retrofit.dib.work_directory import sweep, work_directory
from retrofit.errors import (
    BuildError,
    InterruptedRunError,
    PublishError,
    RetrofitError,
    SourceVanishedError,
    VerifyError,
)
from retrofit.lock import held
from retrofit.model import BuiltImage, Image, Source, Verdict
from retrofit.plan import Inventory, Plan, Rotation, ids, is_eligible, is_whole, plan, rotate
from retrofit.progress import Progress, silent
from retrofit.publish import image_attributes
from retrofit.report import RunReport
from retrofit.run_logs import prune, write_report
from retrofit.source import choose_source
from retrofit.verify import verify

log = structlog.get_logger(__name__)

Build = Callable[..., BuiltImage]
Verify = Callable[..., Verdict]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one target: where it works, and what it works with."""

    target: Target
    settings: Settings
    recipe: Recipe
    report: RunReport
    progress: Progress
    build: Build
    verify: Verify

    @property
    def work_root(self) -> Path:
        """Return the directory under which only runs of this target work, one at a time."""
        return self.settings.paths.work / self.target.name


def run_once(
    target: Target,
    settings: Settings,
    *,
    force: bool = False,
    progress: Progress = silent,
    build: Build = build,
    verify: Verify = verify,
) -> RunReport:
    """Bring one target up to date and report what was done; failures are in the report.

    Whatever ends it, nothing of ours is left behind but logs, and what was promoted before stays
    promoted until a verified image stands beside it.
    """
    report = _new_report(target, settings)
    with structlog.contextvars.bound_contextvars(run_id=report.run_id, target=target.name):
        try:
            with held(settings.lock, settings.paths.state, target.name):
                run = Run(
                    target=target,
                    settings=settings,
                    recipe=recipe_for(target.build),
                    report=report,
                    progress=progress,
                    build=build,
                    verify=verify,
                )
                _prepare(run)
                _run(run, force=force)
        except RetrofitError as error:
            report.fail(error)
        except KeyboardInterrupt:
            during = report.steps[-1][0] if report.steps else "its start"
            report.fail(
                InterruptedRunError(
                    f"the run was interrupted during {during}",
                    hint="nothing was left half done; run again when convenient",
                )
            )
        except Exception as error:
            log.exception("run failed by a bug")
            report.fail(RetrofitError(f"{type(error).__name__}: {error}"))
        if report.outcome != "busy":
            write_report(report)
            prune(settings.paths.logs, keep=settings.paths.keep_logs)
        _summarise(report)
    return report


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
    with report.step("sweep"):
        _sweep_records(run, glance, planned)
    source, decision = planned.require()
    report.source = source
    report.reasons[:] = decision.reasons
    report.notes.extend((*planned.warnings, *decision.notes))
    report.image_id = planned.promoted.id if planned.promoted else None
    if decision.build:
        log.info("build decided", reasons=decision.reasons, source=source.version)
        chosen = _make(run, glance, source)
    elif decision.promote is not None:
        chosen = decision.promote
    else:
        report.reasons.append(_why_unchanged(planned, source))
        _demote_others(run, glance, promoted=report.image_id)
        _retire(run, glance, promoted=report.image_id)
        report.outcome = "unchanged"
        return
    with report.step("promote"):
        _promote(run, glance, chosen)
    with report.step("demote"):
        _demote_others(run, glance, promoted=chosen.id)
        _ask_as_octavia(run, glance, chosen)
    with report.step("retire"):
        _retire(run, glance, promoted=chosen.id)
    report.outcome = "published"


def survey(
    target: Target, settings: Settings, glance: Glance, *, recipe: str, force: bool = False
) -> Plan:
    """Read Glance and decide, changing nothing: this is what `retrofit plan` shows."""
    inventory = take_inventory(target, glance)
    choice = choose_source(
        _possible_sources(target, glance), target.source, own_project=glance.project_id
    )
    return plan(
        inventory,
        target,
        choice,
        recipe=recipe,
        host=socket.gethostname(),
        force=force,
        lock_shared=settings.lock.url is not None,
    )


def take_inventory(target: Target, glance: Glance) -> Inventory:
    """List the target's images and all that carry its tag, hidden and unfinished ones too."""
    images = glance.list({"retrofit_target": target.name, "owner": glance.project_id})
    images += glance.list({"tag": [target.publish.tag]})
    unique = {image.id: image for image in images}
    return Inventory(
        images=tuple(unique.values()), own_project=glance.project_id, now=datetime.now(UTC)
    )


def _possible_sources(target: Target, glance: Glance) -> list[Image]:
    if target.source.image is not None:
        image = glance.get(target.source.image)
        return [] if image is None else [image]
    # By owner, so that a tenant's thousand look-alikes are not even listed.
    owners = dict.fromkeys((glance.project_id, *target.source.owners))
    return [
        image
        for owner in owners
        for image in glance.list({"os_distro": "ubuntu", "owner": owner}, hidden=False)
    ]


def _make(run: Run, glance: Glance, source: Source) -> Image:
    """Fetch, retrofit, verify and upload; the result is in Glance, active, whole and untagged."""
    target, report = run.target, run.report
    with work_directory(run.work_root, report.run_id) as work_dir:
        stock = work_dir / f"source.{source.image.disk_format}"
        with report.step("fetch"):
            _require_space(work_dir, source)
            glance.download(source.image, stock, run.progress)
        with report.step("build"):
            built = run.build(
                stock,
                source_format=source.image.disk_format,
                recipe=run.recipe,
                settings=target.build,
                work_dir=work_dir / "build",
                cache_dir=run.settings.paths.cache,
                log_file=report.log_dir / "build.log",
                expected_os=(source.os_distro, source.os_version),
                allow_os_mismatch=target.source.allow_os_mismatch,
                architecture=source.architecture,
                progress=run.progress,
            )
        with report.step("verify"):
            report.verdict = run.verify(
                built.path,
                disk_format=built.disk_format,
                settings=target.verify,
                build=target.build,
                architecture=source.architecture,
                work_dir=work_dir / "verify",
                log_dir=report.log_dir,
                progress=run.progress,
            )
        _require_verified(report)
        with report.step("upload"):
            return _upload(run, glance, source, built, report.verdict)


def _require_verified(report: RunReport) -> None:
    verdict = report.verdict
    if verdict is None or not verdict.passed:
        failures = verdict.failures if verdict else ()
        said = "; ".join(f"{check.name}: {check.detail}" for check in failures)
        raise VerifyError(
            f"the image is not a working amphora: {said or 'nothing was checked'}",
            hint=f"the evidence is in {report.log_dir}",
        )


def _upload(run: Run, glance: Glance, source: Source, built: BuiltImage, verdict: Verdict) -> Image:
    attributes = image_attributes(
        run.target,
        source,
        built,
        verdict,
        recipe=run.recipe.digest,
        run_id=run.report.run_id,
        host=socket.gethostname(),
    )
    try:
        record = glance.create(attributes)
        image = glance.upload(record, built.path, run.progress)
        if not is_whole(image):
            # Seen to hold our bytes; this Glance hashes by another algorithm than sha512.
            glance.update(
                image.id, {"retrofit_image_hash": f"{image.hash_algo}:{image.hash_value}"}
            )
    except BaseException:
        # No failed upload is repeated into the same record: Glance answers 500 to that.
        _discard_records(run, glance)
        raise
    return image


def _discard_records(run: Run, glance: Glance) -> None:
    """Delete what this run registered, on the way out of a failure that stays the reported one.

    Found by run id, as the answer to the creation may have been what was lost.
    """
    try:
        for image in glance.list(
            {"retrofit_run_id": run.report.run_id, "owner": glance.project_id}
        ):
            glance.delete(image.id)
    except RetrofitError as error:
        log.warning("records left for the next run to sweep", error=error.message)


def _promote(run: Run, glance: Glance, image: Image) -> None:
    """Tag an image, once it is seen to be active and whole; the others keep their tag as yet."""
    current = glance.get(image.id)
    if current is None or current.status != "active" or not is_whole(current):
        state = "gone" if current is None else f'"{current.status}", {current.size} bytes'
        raise PublishError(
            f"cannot promote {image.id}: image is {state}, expected what was built and verified",
            hint="somebody changed it after its upload; run again to build a new one",
        )
    if current.hidden:
        glance.update(image.id, {"os_hidden": False})
    glance.tag(image.id, run.target.publish.tag)
    _mark_promoted(glance, image)
    run.report.promoted.append(image.id)
    run.report.image_id = image.id
    log.info("image promoted", image_id=image.id, name=image.name)


def _mark_promoted(glance: Glance, image: Image) -> None:
    """Record that an image was promoted once; without the tag, that then means: demoted."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    glance.update(image.id, {"retrofit_promoted_at": now})


def _rotation(run: Run, glance: Glance, promoted: str | None) -> Rotation:
    """Look again and say who leaves; nobody does unless `promoted` is seen to stand there."""
    tag = run.target.publish.tag
    inventory = take_inventory(run.target, glance)
    standing = next((image for image in inventory.images if image.id == promoted), None)
    if standing is None or not is_eligible(standing, tag):
        return rotate(inventory, run.target, promoted=None)
    if not standing.property("retrofit_promoted_at"):  # a run died between tag and mark
        _mark_promoted(glance, standing)
    return rotate(inventory, run.target, promoted=promoted)


def _demote_others(run: Run, glance: Glance, *, promoted: str | None) -> None:
    """Take the tag from every other image of the target, and hide them."""
    rotation = _rotation(run, glance, promoted)
    for image in rotation.demote:
        glance.untag(image.id, run.target.publish.tag)
        run.report.demoted.append(image.id)
        log.info("image demoted", image_id=image.id, name=image.name)
    for image in rotation.hide:
        glance.update(image.id, {"os_hidden": True})


def _retire(run: Run, glance: Glance, *, promoted: str | None) -> None:
    """Delete what retention no longer wants; only reached when nothing in this run failed."""
    report = run.report
    rotation = _rotation(run, glance, promoted)
    report.notes.extend(rotation.notes)
    for image in rotation.retire:
        removal = glance.delete(image.id)
        if removal in {Removal.DELETED, Removal.GONE}:
            report.retired.append(image.id)
            log.info("image retired", image_id=image.id, name=image.name)
        else:
            report.notes.append(f"image {image.id} could not be deleted ({removal}): later")


def _ask_as_octavia(run: Run, glance: Glance, promoted: Image) -> None:
    tag = run.target.publish.tag
    ours = glance.octavia_takes(tag, owner=glance.project_id)
    if ours is None or ours.id != promoted.id:
        raise PublishError(
            f"Octavia would take image {ours.id if ours else 'none'}, not {promoted.id}",
            hint=f"another image of this project carries the tag {tag} and was created later:"
            " remove its tag",
        )
    anybody = glance.octavia_takes(tag)
    if anybody is not None and anybody.id != promoted.id:
        run.report.notes.append(
            f"without amp_image_owner_id Octavia takes image {anybody.id} of project"
            f" {anybody.owner}: set amp_image_owner_id = {glance.project_id} in octavia.conf"
        )


def _sweep_records(run: Run, glance: Glance, planned: Plan) -> None:
    for image in planned.sweep:
        if glance.delete(image.id) in {Removal.DELETED, Removal.GONE}:
            run.report.swept.append(image.id)
    if planned.sweep:
        log.info("unfinished records swept", image_ids=ids(planned.sweep))


def _new_report(target: Target, settings: Settings) -> RunReport:
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    return RunReport(run_id=run_id, target=target.name, log_dir=settings.paths.logs / run_id)


def _prepare(run: Run) -> None:
    try:
        run.report.log_dir.mkdir(parents=True)
        for done in sweep(run.work_root):
            log.info("leftover of a dead run removed", what=done)
    except OSError as error:
        raise BuildError(
            f"cannot prepare {error.filename}: {error.strerror}",
            hint="run as root, or set paths.logs",
        ) from error


def _require_space(work_dir: Path, source: Source) -> None:
    needed = source.image.size or 0
    free = shutil.disk_usage(work_dir).free
    if free < needed:
        raise BuildError(
            f"{work_dir} has {free >> 20} MiB free, the source image alone is {needed >> 20} MiB",
            hint="free some space, or set paths.work to a larger filesystem",
        )


def _why_unchanged(planned: Plan, source: Source) -> str:
    if planned.promoted is None:
        return "nothing is promoted, on purpose"
    return (
        f"image {planned.promoted.id} is promoted and current:"
        f" source {source.product} {source.version}, same recipe"
    )


def _summarise(report: RunReport) -> None:
    facts = {
        "outcome": report.outcome,
        "reasons": report.reasons,
        "image_id": report.image_id,
        "seconds": round(sum(seconds for _, seconds in report.steps), 1),
    }
    if report.error is None:
        log.info("run ended", **facts)
    else:
        log.error("run ended", **facts, error=report.error.message, hint=report.error.hint)
