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
    RetrofitError,
    SourceVanishedError,
    VerifyError,
)
from retrofit.lock import held
from retrofit.model import BuiltImage, Image, Source, Verdict
from retrofit.plan import Plan, ids, is_whole
from retrofit.progress import Progress, silent
from retrofit.publish import image_attributes
from retrofit.report import RunReport
from retrofit.rotation import ask_as_octavia, demote_others, promote, retire
from retrofit.run_logs import prune, write_report
from retrofit.survey import survey
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
        demote_others(target, glance, report, promoted=report.image_id)
        retire(target, glance, report, promoted=report.image_id)
        report.outcome = "unchanged"
        return
    with report.step("promote"):
        promote(target, glance, report, chosen)
    with report.step("demote"):
        demote_others(target, glance, report, promoted=chosen.id)
        ask_as_octavia(target, glance, report, chosen)
    with report.step("retire"):
        retire(target, glance, report, promoted=chosen.id)
    report.outcome = "published"


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
