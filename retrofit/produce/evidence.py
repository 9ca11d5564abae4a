"""The evidence of an image: of one that was built, and read from one that has none or lost it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from retrofit.archive.collect import from_tar, of_files, with_settings
from retrofit.archive.evidence import (
    DIRECTORIES,
    FILES,
    MOST_BYTES,
    Evidence,
    EvidenceError,
    digest_of,
    is_evidence,
    pack,
    unpack,
)
from retrofit.build.work_directory import work_directory
from retrofit.cloud import Glance
from retrofit.config import BuildSettings
from retrofit.errors import CloudError, PublishError, RetrofitError
from retrofit.model import BuiltImage, Image
from retrofit.observe.freshness import find_evidence
from retrofit.plan import Freshness
from retrofit.plan.companions import EVIDENCE
from retrofit.produce.agent import agent_in
from retrofit.produce.packages import changed_packages
from retrofit.produce.run import Run
from retrofit.produce.shared_builds import ProducedImage
from retrofit.publish.evidence import keep_evidence
from retrofit.runs import store
from retrofit.runs.machine import this_machine
from retrofit.runs.report import RunReport
from retrofit.system.resource_errors import resource_shortage
from retrofit.times import iso, read_time
from retrofit.verify import sbom
from retrofit.verify.mounting import mounted_image
from retrofit.verify.tree import Tree

AGAIN = timedelta(days=7)
"""After how long an image is downloaded again whose files could not be read."""

log = structlog.get_logger(__name__)


def evidence_of(
    built: BuiltImage,
    freshness: Freshness | None,
    report: RunReport,
    build: BuildSettings,
    work_dir: Path,
) -> bytes | None:
    """Return the packed evidence of a build; without one the image is published all the same."""
    if built.evidence is None:
        log.warning("the build left no evidence of the image's packages")
        return None
    try:
        evidence = from_tar(built.evidence)
        evidence = evidence.with_offered(() if freshness is None else freshness.taken)
        if build.agent == "pypi":
            evidence = _with_agent(evidence, built, report, work_dir)
        checks = report.verdict.checks if report.verdict else ()
        outcomes = {check.name: str(check.outcome) for check in checks}
        return pack(evidence.with_verification(outcomes, _bill_of(report.log_dir)))
    except EvidenceError as error:
        report.notes.append(f"no evidence of the image's packages: {error}")
        return None


def _with_agent(
    evidence: Evidence, built: BuiltImage, report: RunReport, work_dir: Path
) -> Evidence:
    """Return evidence with the agent's distributions, which dpkg does not know of."""
    try:
        with mounted_image(built.path, built.disk_format, work_dir / "agent") as found:
            return evidence.with_agent(agent_in(Tree(found.root)))
    except (RetrofitError, OSError) as error:
        reason = error.message if isinstance(error, RetrofitError) else str(error)
        report.notes.append(f"no evidence of the agent's Python distributions: {reason}")
        return evidence


def keep_built(
    run: Run, glance: Glance, image: Image, produced: ProducedImage, work_dir: Path
) -> None:
    """Keep the evidence of a build beside its image; where that cannot be, the report has why."""
    if produced.evidence is None:
        return
    try:
        _keep(run, glance, image, produced.evidence, work_dir)
    except (CloudError, PublishError, OSError) as error:
        reason = error.message if isinstance(error, RetrofitError) else str(error)
        run.report.notes.append(
            f"the evidence of the image's packages is not in Glance: {reason}; it is read from the"
            " image itself"
        )


def report_packages(
    run: Run, glance: Glance, before: Image | None, produced: ProducedImage, work_dir: Path
) -> None:
    """Put into the report in which packages an image differs from the one before."""
    if before is None or produced.evidence is None:
        return
    try:
        run.report.packages[:] = changed_packages(
            find_evidence(before, run.settings.paths.cache, glance),
            unpack(produced.evidence),
            produced.built.path,
            produced.built.disk_format,
            work_dir / "packages",
        )
    except (EvidenceError, RetrofitError, OSError) as error:
        log.info("packages not compared", reason=str(error))


def recover_evidence(run: Run, glance: Glance, image: Image) -> bool:
    """Give an image of ours evidence where it has none: those of 0.1.0, and lost companions.

    Return True where it got some. The image is downloaded and its files are read; one that cannot
    be read is tried on one machine once in a week at most. A failure is noted: what is newer in the
    archive is not known then, and nothing else depends on it.
    """
    if not run.target.freshness.check:
        return False
    try:
        find_evidence(image, run.settings.paths.cache, glance)
    except EvidenceError as missing:
        log.info("evidence read from the image", image_id=image.id, reason=str(missing))
    except RetrofitError:
        return False  # Glance does not answer: the next run tries again
    else:
        return False
    path = store.directory_of(run.settings.paths.state, run.target.name) / "evidence.json"
    if not _is_due(path, image, run.report.started_at):
        return False
    try:
        _recover(run, glance, image)
    except (EvidenceError, RetrofitError, OSError) as error:
        reason = error.message if isinstance(error, RetrofitError) else str(error)
        run.report.notes.append(f"the packages of image {image.id} cannot be read: {reason}")
        if isinstance(error, CloudError) or resource_shortage(error) is not None:
            return False  # that passes, and says nothing of the image
        with suppress(OSError):
            store.write(path, {"image_id": image.id, "tried_at": iso(run.report.started_at)})
        return False
    return True


def _is_due(path: Path, image: Image, now: datetime) -> bool:
    """Return True unless the same image could not be read on this machine a short time ago."""
    record = store.read(path) or {}
    tried = read_time(record.get("tried_at"))
    return record.get("image_id") != image.id or tried is None or not tried <= now < tried + AGAIN


def _recover(run: Run, glance: Glance, image: Image) -> None:
    with (
        run.report.step("evidence"),
        work_directory(run.work_root, run.report.run_id) as work_dir,
    ):
        path = work_dir / f"promoted.{image.disk_format}"
        glance.download(image, path, run.progress)
        with mounted_image(path, image.disk_format or "raw", work_dir / "inside") as found:
            tree = Tree(found.root)
            evidence = of_files(with_settings(_files_of(tree), run.target.build))
            if run.target.build.agent == "pypi":
                evidence = evidence.with_agent(agent_in(tree))
        packed = pack(evidence)
        _keep(run, glance, image, packed, work_dir)
        glance.update(image.id, {EVIDENCE: digest_of(packed)})


def _keep(run: Run, glance: Glance, image: Image, packed: bytes, work_dir: Path) -> None:
    """Upload packed evidence as the companion of an image. Raises CloudError, PublishError."""
    path = work_dir / "evidence.tar.xz"
    path.write_bytes(packed)
    keep_evidence(
        image,
        path,
        run.target,
        glance,
        run_id=run.report.run_id,
        state_id=this_machine(run.settings).state_id or "",
    )


def _bill_of(log_dir: Path) -> bytes | None:
    try:
        return (log_dir / sbom.FILE).read_bytes()
    except OSError:
        return None


def _files_of(tree: Tree) -> dict[str, bytes]:
    names = [*FILES, *(f"{each}/{name}" for each in DIRECTORIES for name in tree.names(each))]
    found, left = {}, MOST_BYTES
    for name in names:
        # What only a build leaves is nothing that an image could tell of itself.
        wanted = is_evidence(name) and not name.startswith("retrofit/")
        path = tree.resolve(name) if wanted else None
        if path is None or not path.is_file():
            continue
        left -= path.stat().st_size
        if left < 0:
            raise EvidenceError(f"its records have more than {MOST_BYTES >> 20} MiB")
        found[name] = path.read_bytes()
    return found
