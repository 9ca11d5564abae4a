"""From a source to a verified image in Glance, not yet promoted: the long part of a run."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.dib import Recipe
from retrofit.dib.preflight import require_machine
from retrofit.dib.work_directory import work_directory
from retrofit.digests import sha512_of
from retrofit.errors import (
    CloudError,
    ConfigError,
    InterruptedRunError,
    LockLostError,
    MirrorError,
    PublishError,
    RetrofitError,
    SourceVanishedError,
    VerifyError,
)
from retrofit.failures import forget_failures, remember_failure
from retrofit.fetch import fetch
from retrofit.model import BuiltImage, Image, Source, StreamItem, Verdict
from retrofit.plan import inputs_of, is_whole
from retrofit.progress import Progress
from retrofit.publish import image_attributes
from retrofit.report import RunReport
from retrofit.shelf import Job, Made, Shelf, job_of
from retrofit.shortage import shortage
from retrofit.stock import publish_stock
from retrofit.trust import Vouched, require_same
from retrofit.upload import upload
from retrofit.verify.preflight import require_verifiable

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
    shelf: Shelf

    @property
    def work_root(self) -> Path:
        """Return the directory under which only runs of this target work, one at a time."""
        return self.settings.paths.work / self.target.name


def made(run: Run, glance: Glance, source: Source, vouched: Vouched) -> Image:
    """Make the image, or take what another run of this command made, and upload it.

    A failure that the same source and recipe would meet again is remembered.
    """
    state, name = run.settings.paths.state, run.target.name
    with run.report.step("preflight"):
        # What this machine lacks says nothing of source and recipe: it is not remembered.
        if run.shelf.take(_job(run, source, vouched)) is None:
            _require_machine(run, source)
    try:
        with work_directory(run.work_root, run.report.run_id) as work_dir:
            made = _build_and_verify(run, glance, source, vouched, work_dir)
            with run.report.step("upload"):
                image = _upload(run, glance, source, vouched, made)
    except (
        CloudError,
        ConfigError,
        InterruptedRunError,
        LockLostError,
        MirrorError,
        SourceVanishedError,
    ):
        raise  # says nothing about this source and recipe
    except Exception as error:
        if shortage(error) is not None:
            raise  # nor does what the machine ran short of
        known = error if isinstance(error, RetrofitError) else RetrofitError(str(error))
        remember_failure(
            state,
            name,
            known,
            inputs=inputs_of(source, run.recipe.digest),
            run_id=run.report.run_id,
        )
        raise
    forget_failures(state, name)
    return image


def _job(run: Run, source: Source, vouched: Vouched) -> Job:
    return job_of(source, run.target, run.recipe.digest, trust=vouched.level)


def _require_machine(run: Run, source: Source) -> None:
    """Raise BuildError or VerifyError for what this machine lacks, before gigabytes are fetched."""
    target = run.target
    require_machine(
        source.architecture,
        source=source.size or 0,
        settings=target.build,
        paths=run.settings.paths,
    )
    require_verifiable(target.verify, source.architecture)


def _build_and_verify(
    run: Run, glance: Glance, source: Source, vouched: Vouched, work_dir: Path
) -> Made:
    """Fetch, retrofit and verify, unless a run before this one did just that."""
    target, report = run.target, run.report
    report.trust = vouched.level
    report.notes.append(vouched.note)
    job = _job(run, source, vouched)
    made = run.shelf.take(job)
    if made is not None:
        # The same level of trust, and yet another mirror may vouch for other bytes.
        require_same(source, vouched, hashes=made.source_hashes, size=made.source_size)
        report.notes.append(f"built and verified in run {made.run_id}, for another target")
        report.verdict = made.verdict
        return made
    stock = work_dir / f"source.{source.disk_format}"
    with report.step("fetch"):
        hashes = fetch(
            source,
            vouched,
            stock,
            glance=glance,
            mirror=target.mirror,
            cache=run.settings.paths.cache,
            progress=run.progress,
        )
    size = stock.stat().st_size
    if source.item is not None and target.source.publish_stock:
        with report.step("stock"):
            _publish_stock(run, glance, source, source.item, stock)
    with report.step("build"):
        built = run.build(
            stock,
            source_format=source.disk_format,
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
    return run.shelf.keep(
        job,
        Made(
            built=built,
            verdict=report.verdict,
            source_hashes=hashes,
            source_size=size,
            run_id=report.run_id,
        ),
    )


def _publish_stock(run: Run, glance: Glance, source: Source, item: StreamItem, path: Path) -> None:
    """Publish the stock image too; load balancers do not depend on it, so neither does the run."""
    try:
        notes = publish_stock(source, item, path, run.target, glance, run.progress)
    except (CloudError, PublishError) as error:
        log.warning("stock image not published", error=error.message)
        notes = [f"the stock image was not published: {error.message}"]
    run.report.notes.extend(notes)


def _require_verified(report: RunReport) -> None:
    verdict = report.verdict
    if verdict is None or not verdict.passed:
        failures = verdict.failures if verdict else ()
        said = "; ".join(f"{check.name}: {check.detail}" for check in failures)
        raise VerifyError(
            f"the image is not a working amphora: {said or 'nothing was checked'}",
            hint=f"the evidence is in {report.log_dir}",
        )


def _upload(run: Run, glance: Glance, source: Source, vouched: Vouched, made: Made) -> Image:
    attributes = image_attributes(
        run.target,
        source,
        made.built,
        made.verdict,
        source_hashes=made.source_hashes,
        source_trust=vouched.level,
        recipe=run.recipe.digest,
        run_id=run.report.run_id,
        host=socket.gethostname(),
    )

    def record_hash(image: Image) -> None:
        """See that what was uploaded is what was built and verified, and not changed since."""
        if is_whole(image):
            return
        built = made.built
        if image.hash_algo == "sha512" or sha512_of(built.path) != built.sha512:
            raise PublishError(
                f"{built.path} has changed since it was built and verified",
                hint="look at the disk and the memory of this machine, and who writes there",
            )
        # This Glance hashes by another algorithm.
        known = f"{image.hash_algo}:{image.hash_value}"
        glance.update(image.id, {"retrofit_image_hash": known})

    return upload(
        glance,
        attributes,
        made.built.path,
        run.progress,
        retries=run.target.cloud.retries,
        finish=record_hash,
    )
