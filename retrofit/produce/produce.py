"""From a source to a verified image in Glance, not yet promoted: the long part of a run."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from retrofit.archive.evidence import digest_of
from retrofit.build.request import BuildRequest
from retrofit.build.work_directory import work_directory
from retrofit.cloud import Glance
from retrofit.control_plane.expectation import without_ways_out
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
from retrofit.model import Image, Source
from retrofit.observe.control_plane import expectation
from retrofit.plan import Freshness, inputs_of, is_whole
from retrofit.produce.download import fetch
from retrofit.produce.evidence import evidence_of, keep_built, report_packages
from retrofit.produce.preflight.require import require_all
from retrofit.produce.preflight.room import Room
from retrofit.produce.run import Run
from retrofit.produce.shared_builds import BuildKey, ProducedImage
from retrofit.publish.properties import image_attributes
from retrofit.publish.upload import upload
from retrofit.runs.failures import forget_failures, remember_failure
from retrofit.runs.machine import this_machine
from retrofit.runs.report import RunReport
from retrofit.source.trust import Provenance, require_same
from retrofit.system.digests import ends_of, sha512_of
from retrofit.system.resource_errors import resource_shortage
from retrofit.verify.request import VerifyRequest


def produce(
    run: Run,
    glance: Glance,
    source: Source,
    provenance: Provenance,
    *,
    promoted: Image | None = None,
    freshness: Freshness | None = None,
) -> Image:
    """Build and verify an image, or take the one of another run of this command, and upload it.

    `freshness` is what the archive offers the promoted image: the evidence of the new one records
    it. The report lists the packages in which the two differ.
    A failure that the same source and recipe would meet again is remembered. Raises BuildError,
    VerifyError, PublishError, and what `fetch` raises.
    """
    state, name = run.settings.paths.state, run.target.name
    with ExitStack() as held:
        with run.report.step("preflight"):
            # What is refused here is no fault of source and recipe: it is not remembered.
            built = run.shared.find(_key(run, source, provenance)) is not None
            room = require_all(run, glance, source, held, promoted=promoted, built=built)
        try:
            with work_directory(run.work_root, run.report.run_id) as work_dir:
                produced = _build_and_verify(
                    run, glance, source, provenance, freshness, work_dir, room=room
                )
                with run.report.step("upload"):
                    image = _upload(run, glance, source, provenance, produced)
                    keep_built(run, glance, image, produced, work_dir)
                    report_packages(run, glance, promoted, produced, work_dir)
        except (
            CloudError,
            ConfigError,
            InterruptedRunError,
            LockLostError,
            MirrorError,
            SourceVanishedError,
        ):
            raise  # no fault of this source and recipe
        except Exception as error:
            if resource_shortage(error) is not None:
                raise  # nor does what the machine ran short of
            known = error if isinstance(error, RetrofitError) else RetrofitError(str(error))
            remember_failure(
                state,
                name,
                known,
                inputs=inputs_of(source, run.recipe.digest, freshness),
                run_id=run.report.run_id,
            )
            raise
    forget_failures(state, name)
    return image


def _key(run: Run, source: Source, provenance: Provenance) -> BuildKey:
    return BuildKey.of(source, run.target, run.recipe.digest, trust=provenance.level)


def _build_and_verify(
    run: Run,
    glance: Glance,
    source: Source,
    provenance: Provenance,
    freshness: Freshness | None,
    work_dir: Path,
    *,
    room: Room | None,
) -> ProducedImage:
    """Fetch, retrofit and verify, unless another run of this command did just that.

    `room` is what is reserved for it; the build renews it.
    """
    target, report = run.target, run.report
    report.trust = provenance.level
    report.notes.append(provenance.note)
    key = _key(run, source, provenance)
    shared = run.shared.find(key)
    if shared is not None:
        # The same level of trust, and yet another mirror may vouch for other bytes.
        require_same(source, provenance, hashes=shared.source_hashes, size=shared.source_size)
        report.notes.append(f"built and verified in run {shared.run_id}, for another target")
        report.verdict = shared.verdict
        return shared
    fetched = work_dir / f"source.{source.disk_format}"
    with report.step("fetch"):
        hashes = fetch(
            source,
            provenance,
            fetched,
            glance=glance,
            mirror=target.mirror,
            cache=run.settings.paths.cache,
            progress=run.progress,
        )
    size = fetched.stat().st_size
    with report.step("build"):
        built = run.build(
            BuildRequest(
                source=fetched,
                source_format=source.disk_format,
                recipe=run.recipe,
                settings=target.build,
                work_dir=work_dir / "build",
                cache_dir=run.settings.paths.cache,
                log_file=report.log_dir / "build.log",
                expected_os=(source.os_distro, source.os_version),
                allow_os_mismatch=target.source.allow_os_mismatch,
                architecture=source.architecture,
                reserve=None if room is None else room.renew,
                progress=run.progress,
            )
        )
    with report.step("verify"):
        expected = expectation(target)
        report.notes.append(f"octavia: {expected.plane}")
        report.verdict = run.verify(
            VerifyRequest(
                image=built.path,
                disk_format=built.disk_format,
                settings=target.verify,
                build=target.build,
                architecture=source.architecture,
                work_dir=work_dir / "verify",
                log_dir=report.log_dir,
                memory=None if room is None else room.memory,
                progress=run.progress,
                control_plane=expected,
            )
        )
    _require_verified(report)
    evidence = evidence_of(built, freshness, report, target.build, work_dir)
    return run.shared.keep(
        key,
        ProducedImage(
            built=built,
            verdict=report.verdict,
            source_hashes=hashes,
            source_size=size,
            run_id=report.run_id,
            evidence=evidence,
        ),
    )


def _require_verified(report: RunReport) -> None:
    verdict = report.verdict
    if verdict is None or not verdict.passed:
        failures = verdict.failures if verdict else ()
        details, ways_out = without_ways_out(check.detail for check in failures)
        failed = "; ".join(
            f"{check.name}: {detail}" for check, detail in zip(failures, details, strict=True)
        )
        raise VerifyError(
            f"the image is not a working amphora: {failed or 'nothing was checked'}",
            hint="; or ".join(
                [
                    *ways_out,
                    f"`retrofit logs {report.run_id}` shows the evidence in {report.log_dir}",
                ]
            ),
        )


def _upload(
    run: Run, glance: Glance, source: Source, provenance: Provenance, produced: ProducedImage
) -> Image:
    state_id = this_machine(run.settings).state_id or ""

    image_ends = ends_of(produced.built.path)

    def attributes(image_id: str) -> dict[str, Any]:
        return image_attributes(
            run.target,
            source,
            produced.built,
            produced.verdict,
            source_hashes=produced.source_hashes,
            source_trust=provenance.level,
            recipe=run.recipe.digest,
            run_id=run.report.run_id,
            host=socket.gethostname(),
            project_id=glance.project_id,
            image_id=image_id,
            state_id=state_id,
            image_ends=image_ends,
            evidence=None if produced.evidence is None else digest_of(produced.evidence),
        )

    def record_hash(image: Image) -> None:
        """See that what was uploaded is what was built and verified, and not changed since."""
        if is_whole(image):
            return
        built = produced.built
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
        produced.built.path,
        run.progress,
        retries=run.target.cloud.retries,
        finish=record_hash,
    )
