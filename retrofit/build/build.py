"""Source + recipe -> amphora image file."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from retrofit import disk, process, qemu_img
from retrofit.config import BuildSettings
from retrofit.dib import preflight
from retrofit.dib.build_log import PhaseReader, lines_that_matter, redact
from retrofit.dib.package_cache import keep, lend
from retrofit.dib.plan import MEBIBYTE, BuildPaths, plan_build, supervised
from retrofit.dib.recipe import Recipe, gather
from retrofit.dib.work_directory import BUILD, clear
from retrofit.digests import sha512_of
from retrofit.disk import ext4
from retrofit.errors import BuildError, SourceError
from retrofit.interrupts import uninterrupted
from retrofit.model import DEBIAN_ARCHITECTURES, BuiltImage
from retrofit.progress import Progress, silent
from retrofit.shortage import told_as

log = structlog.get_logger(__name__)

GIBIBYTE = 1024**3
COMPRESSED = {
    "zstd": ("-c", "-o", "compression_type=zstd,cluster_size=256k"),
    "zlib": ("-c", "-o", "compression_type=zlib"),
}


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What every step of one build needs to know."""

    recipe: Recipe
    settings: BuildSettings
    architecture: str
    paths: BuildPaths
    packages: Path
    log_file: Path
    told_log: Path
    result: Path
    progress: Progress

    @property
    def part(self) -> Path:
        """Return the result's name until it is whole."""
        return self.result.with_name(f"{self.result.name}.part")


@told_as(BuildError, "build the image")
def build(
    source: Path,
    *,
    recipe: Recipe,
    settings: BuildSettings,
    work_dir: Path,
    cache_dir: Path,
    log_file: Path,
    source_format: str | None = None,
    expected_os: tuple[str, str] | None = None,
    allow_os_mismatch: bool = False,
    architecture: str = "x86_64",
    told_log: Path | None = None,
    progress: Progress = silent,
) -> BuiltImage:
    """Retrofit the image file `source`; the result is a file in `work_dir`.

    `source_format` is what the record says, `qcow2` or `raw`; what the file is must agree.
    `expected_os` is distribution and version, `("ubuntu", "24.04")`; `architecture` is Glance's.
    Output of the build's programs is appended to `log_file`, which errors call `told_log`.
    However this ends, no mount, loop device or temporary file remains.
    Raises SourceError for a source that cannot be used, BuildError for everything else.
    """
    began = time.monotonic()
    # qemu-img takes what stands before a colon for a protocol, unless a slash comes first.
    source = source.absolute()
    job = _Job(
        recipe=recipe,
        settings=settings,
        architecture=DEBIAN_ARCHITECTURES[architecture],
        paths=BuildPaths(
            # The kernel names backing files and mount points by their real paths.
            directory=work_dir.resolve() / BUILD,
            tools=Path(sys.executable).parent,
        ),
        packages=cache_dir.absolute() / "packages",
        log_file=log_file,
        told_log=told_log or log_file,
        result=work_dir / f"amphora.{settings.format}",
        progress=progress,
    )
    progress("examining the source", 0.0)
    found_format = disk.source_format(source)
    if source_format not in (None, found_format):
        raise SourceError(
            f"source {source} is {found_format}, but its record says {source_format}",
            hint="choose another source, or correct the record",
        )
    preflight.check_abilities(job.paths.tools)
    _claim(job.paths.directory)
    try:
        _make_directories(job)
        gather(recipe, job.paths.elements)
        tmpfs = _check_resources(job, source, found_format)
        progress("copying the source's disk", 0.02)
        _copy_disk(source, found_format, job.paths.disk)
        progress("examining the source", 0.06)
        stock = disk.inspect(job.paths.disk)
        if expected_os is not None:
            disk.check_os(stock.os, *expected_os, allow_mismatch=allow_os_mismatch)
        log.info("retrofit started", os=str(stock.os), tmpfs=tmpfs, log_file=str(log_file))
        _run(job, stock, tmpfs=tmpfs)
        image = _finish(job, stock)
    finally:
        with uninterrupted():
            with suppress(OSError):
                redact(job.log_file)
            clear(job.paths.directory)
            job.part.unlink(missing_ok=True)
    progress("built", 1.0)
    log.info("retrofit finished", seconds=round(time.monotonic() - began), size=image.size)
    return image


def _claim(directory: Path) -> None:
    try:
        directory.mkdir(parents=True)
    except FileExistsError as error:
        raise BuildError(
            f"{directory} is in use by another build",
            hint="every build needs a work directory of its own",
        ) from error
    except OSError as error:
        raise BuildError(
            f"cannot make {directory}: {error.strerror}", hint="paths.work must be writable"
        ) from error


def _make_directories(job: _Job) -> None:
    paths = job.paths
    try:
        for directory in (
            *(paths.temporary, paths.home, paths.elements),
            job.log_file.parent,
        ):
            directory.mkdir(parents=True, exist_ok=True)
        job.log_file.touch()
        # Ours, so that a later run may look at it; the build takes it as root.
        paths.lock.touch()
    except OSError as error:
        raise BuildError(
            f"cannot make {error.filename}: {error.strerror}",
            hint="paths.work and paths.logs must be writable",
        ) from error


def _check_resources(job: _Job, source: Path, source_format: str) -> bool:
    """Say whether to build in memory. Raises BuildError when this machine is too small."""
    needs = preflight.needs_for(
        source=_data_size(source, source_format), output_copy=job.settings.format == "qcow2"
    )
    tmpfs = preflight.choose_tmpfs(needs, wanted=job.settings.tmpfs)
    preflight.check_disk_space(
        job.paths.directory, needs.disk if tmpfs else needs.disk + needs.tmpfs
    )
    return tmpfs


def _data_size(source: Path, file_format: str) -> int:
    """Return how many bytes a raw copy of the source takes on a filesystem with sparse files."""
    if file_format == "raw":
        return source.stat().st_blocks * 512
    try:
        return qemu_img.measure(source, file_format)
    except process.CommandError as error:
        raise SourceError(
            f"qemu-img cannot read the source: {error}",
            hint="take the image from its publisher once more",
        ) from error


def _copy_disk(source: Path, source_format: str, target: Path) -> None:
    try:
        qemu_img.convert(source, source_format, target, "raw")
    except process.CommandError as error:
        if "No space left" in error.stderr:
            raise BuildError(
                f"there is no space left for the source's disk in {target.parent}",
                hint="free some, or set paths.work to a directory with more",
            ) from error
        raise SourceError(
            f"cannot copy the source's disk: {error}",
            hint="take the image from its publisher once more",
        ) from error


def _run(job: _Job, stock: disk.StockDisk, *, tmpfs: bool) -> None:
    plan = plan_build(
        stock, job.recipe, job.settings, job.paths, architecture=job.architecture, tmpfs=tmpfs
    )
    reader = PhaseReader(job.progress, begin=0.08, end=0.85)
    # Of this release: another's would be of no use to it.
    kept = job.packages / f"{stock.os.id}-{stock.os.codename}-{job.architecture}"
    archives = job.paths.archives(stock.os.id)
    lent = lend(kept, archives)
    try:
        process.run_logged(
            supervised(plan, job.paths, root=os.geteuid() == 0),
            log_file=job.log_file,
            timeout=job.settings.timeout,
            env=plan.environment,
            cwd=job.paths.directory,
            on_line=reader,
            lifeline=True,
            most=process.MOST_OUTPUT,
        )
    except process.CommandError as error:
        where = f" in {reader.script}" if reader.script else ""
        if isinstance(error, process.OutOfTimeError):
            raise BuildError(
                f"disk-image-create did not finish within {job.settings.timeout} s{where};"
                f" its output is in {job.told_log}",
                hint="raise build.timeout, or see in the log what it waited for",
            ) from error
        if isinstance(error, process.TooMuchOutputError):
            raise BuildError(
                f"disk-image-create was stopped{where}: it printed more than"
                f" {process.MOST_OUTPUT >> 20} MiB, which {job.told_log} begins with",
                hint="see in the log what it repeats",
            ) from error
        if error.returncode is None:
            raise BuildError(
                error.message, hint="paths.logs must have room, and sudo must be there"
            ) from error
        said = "\n".join(f"  {line}" for line in lines_that_matter(job.log_file))
        raise BuildError(
            f"disk-image-create failed{where}:\n{said}\nall of its output is in {job.told_log}",
            hint="see what came before these lines in the log",
        ) from error
    keep(archives, kept, lent)


def _finish(job: _Job, stock: disk.StockDisk) -> BuiltImage:
    raw = job.paths.result
    if not raw.exists():
        raise BuildError(
            "disk-image-create succeeded and left no image",
            hint=f"its output is in {job.told_log}",
        )
    virtual_size = raw.stat().st_size
    min_disk = -(-virtual_size // GIBIBYTE)
    _check_space(stock, job.settings, raw, min_disk)
    job.progress("writing the image", 0.86)
    if job.settings.format == "raw":
        shutil.move(raw, job.part)
    else:
        _compress(raw, job.part, job.settings)
    job.progress("computing the checksum", 0.97)
    digest = sha512_of(job.part)
    manifest = _keep_manifest(job)
    job.part.replace(job.result)
    return BuiltImage(
        path=job.result,
        disk_format=job.settings.format,
        size=job.result.stat().st_size,
        virtual_size=virtual_size,
        min_disk=min_disk,
        sha512=digest,
        manifest=manifest,
    )


def _check_space(stock: disk.StockDisk, settings: BuildSettings, raw: Path, min_disk: int) -> None:
    if settings.max_disk is not None and min_disk > settings.max_disk:
        raise BuildError(
            f"the image needs a disk of {min_disk} GiB, and the amphora flavor has"
            f" {settings.max_disk} GiB",
            hint="lower build.free_space, leave packages out, or use a larger flavor and"
            " build.max_disk",
        )
    available = ext4.superblock(raw, stock.root.partition.offset).available // MEBIBYTE
    if available < settings.free_space:
        raise BuildError(
            f"the image has {available} MiB free instead of {settings.free_space} MiB",
            hint="an element writes much in its finalise phase; do that in install.d, or raise"
            " build.free_space",
        )


def _compress(raw: Path, target: Path, settings: BuildSettings) -> None:
    try:
        qemu_img.convert(raw, "raw", target, "qcow2", *COMPRESSED[settings.compression])
    except process.CommandError as error:
        raise BuildError(
            f"cannot write {target}: {error}", hint="is there space for it?"
        ) from error


def _keep_manifest(job: _Job) -> Path | None:
    if not job.paths.manifest.exists():
        return None
    kept = job.log_file.with_suffix(".manifest")
    shutil.copyfile(job.paths.manifest, kept)
    return kept
