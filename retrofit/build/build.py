"""Build an amphora image file from a source image and a recipe."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from retrofit import disk
from retrofit.build import needs
from retrofit.build.build_log import PhaseReader, failure_lines, redact, settings_lost
from retrofit.build.command import SYSTEM_PATH, BuildPaths, plan_build, supervised_argv
from retrofit.build.handover import hand_over
from retrofit.build.package_cache import keep_packages, lend_packages
from retrofit.build.recipe import Recipe, gather
from retrofit.build.request import BuildRequest, Reserve
from retrofit.build.work_directory import BUILD, clear
from retrofit.config import BuildSettings
from retrofit.disk import StockDisk, ext4, qemu_img
from retrofit.errors import BuildError, SourceError
from retrofit.model import DEBIAN_ARCHITECTURES, BuiltImage
from retrofit.system import logged_process, process
from retrofit.system.digests import sha512_of
from retrofit.system.progress import Progress
from retrofit.system.resource_errors import resource_errors_as
from retrofit.system.signals import uninterrupted
from retrofit.system.sizes import GIBIBYTE, MEBIBYTE

log = structlog.get_logger(__name__)

COMPRESSED = {
    "zstd": ("-c", "-o", "compression_type=zstd,cluster_size=256k"),
    "zlib": ("-c", "-o", "compression_type=zlib"),
}


@dataclass(frozen=True, kw_only=True)
class _BuildContext:
    """The paths and settings that the steps of one build share."""

    recipe: Recipe
    settings: BuildSettings
    architecture: str
    paths: BuildPaths
    packages: Path
    log_file: Path
    reported_log: Path
    result: Path
    reserve: Reserve | None
    progress: Progress

    @property
    def part(self) -> Path:
        """Return the path of the unfinished result."""
        return self.result.with_name(f"{self.result.name}.part")


@resource_errors_as(BuildError, "build the image")
def build(request: BuildRequest) -> BuiltImage:
    """Retrofit the image file `request.source`; the result is a file in `request.work_dir`.

    The file has to match its record. However this ends, no mount, loop device or temporary file
    remains. Raises SourceError for a source that cannot be used, BuildError for everything else.
    """
    began = time.monotonic()
    # qemu-img reads a prefix before a colon as a protocol, unless a slash comes first.
    source = request.source.absolute()
    settings, progress = request.settings, request.progress
    context = _BuildContext(
        recipe=request.recipe,
        settings=settings,
        architecture=DEBIAN_ARCHITECTURES[request.architecture],
        paths=BuildPaths(
            # The kernel names backing files and mount points by their real paths.
            directory=request.work_dir.resolve() / BUILD,
            tools=Path(sys.executable).parent,
        ),
        packages=request.cache_dir.absolute() / "packages",
        log_file=request.log_file,
        reported_log=request.reported_log or request.log_file,
        result=request.work_dir / f"amphora.{settings.format}",
        reserve=request.reserve,
        progress=progress,
    )
    progress("examining the source", 0.0)
    found_format = disk.source_format(source)
    if request.source_format not in (None, found_format):
        raise SourceError(
            f"source {source} is {found_format}, but its record has {request.source_format}",
            hint="choose another source, or correct the record",
        )
    _claim(context.paths.directory)
    try:
        _make_directories(context)
        gather(context.recipe, context.paths.elements)
        tmpfs = _check_resources(context, source, found_format)
        progress("copying the source's disk", 0.02)
        _copy_disk(source, found_format, context.paths.disk)
        if settings.format == "raw":
            disk.require_uploadable(context.paths.disk)
        progress("examining the source", 0.06)
        source_disk = disk.inspect(context.paths.disk)
        if request.expected_os is not None:
            disk.check_os(
                source_disk.os, *request.expected_os, allow_mismatch=request.allow_os_mismatch
            )
        log.info(
            "retrofit started", os=str(source_disk.os), tmpfs=tmpfs, log_file=str(context.log_file)
        )
        _run(context, source_disk, tmpfs=tmpfs)
        image = _finish(context, source_disk)
    finally:
        with uninterrupted():
            with suppress(OSError):
                redact(context.log_file)
            clear(context.paths.directory)
            context.part.unlink(missing_ok=True)
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


def _make_directories(context: _BuildContext) -> None:
    paths = context.paths
    try:
        for directory in (
            *(paths.temporary, paths.home, paths.elements),
            context.log_file.parent,
        ):
            directory.mkdir(parents=True, exist_ok=True)
        context.log_file.touch()
        # Created by us, so that a later run may open it; the build locks it as root.
        paths.lock.touch()
    except OSError as error:
        raise BuildError(
            f"cannot make {error.filename}: {error.strerror}",
            hint="paths.work and paths.logs must be writable",
        ) from error


def _check_resources(context: _BuildContext, source: Path, source_format: str) -> bool:
    """Return True to build in memory. Raises BuildError when this machine is too small."""
    wanted = needs.needs_for(
        source=_data_size(source, source_format), output_copy=context.settings.format == "qcow2"
    )
    if context.reserve is not None:
        return context.reserve(wanted)
    tmpfs = needs.choose_tmpfs(wanted, wanted=context.settings.tmpfs)
    needs.check_disk_space(
        context.paths.directory, wanted.disk if tmpfs else wanted.disk + wanted.tmpfs
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
            hint="download the image from its publisher again",
        ) from error


def _copy_disk(source: Path, source_format: str, target: Path) -> None:
    try:
        qemu_img.convert(source, source_format, target, "raw")
    except process.CommandError as error:
        if "No space left" in error.stderr:
            raise BuildError(
                f"no space is left for the source's disk in {target.parent}",
                hint="free some, or set paths.work to a directory with more",
            ) from error
        raise SourceError(
            f"cannot copy the source's disk: {error}",
            hint="download the image from its publisher again",
        ) from error


def _run(context: _BuildContext, source_disk: StockDisk, *, tmpfs: bool) -> None:
    plan = plan_build(
        source_disk,
        context.recipe,
        context.settings,
        context.paths,
        architecture=context.architecture,
        tmpfs=tmpfs,
    )
    hand_over(plan, context.recipe, context.paths)
    reader = PhaseReader(context.progress, begin=0.08, end=0.85)
    # By release: packages of another would be of no use.
    kept = (
        context.packages / f"{source_disk.os.id}-{source_disk.os.codename}-{context.architecture}"
    )
    archives = context.paths.archives(source_disk.os.id)
    lent = lend_packages(kept, archives)
    try:
        logged_process.run_logged(
            supervised_argv(plan, context.paths, root=os.geteuid() == 0),
            log_file=context.log_file,
            timeout=context.settings.timeout,
            env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"},
            cwd=context.paths.directory,
            on_line=reader,
            lifeline=True,
            most=logged_process.MOST_OUTPUT,
        )
    except process.CommandError as error:
        where = f" in {reader.script}" if reader.script else ""
        if isinstance(error, process.OutOfTimeError):
            raise BuildError(
                f"disk-image-create did not finish within {context.settings.timeout} s{where};"
                f" its output is in {context.reported_log}",
                hint="raise build.timeout, or see the end of that log",
            ) from error
        if isinstance(error, process.TooMuchOutputError):
            raise BuildError(
                f"disk-image-create was stopped{where}: it printed more than"
                f" {logged_process.MOST_OUTPUT >> 20} MiB; they are in {context.reported_log}",
                hint="see what the log repeats",
            ) from error
        if error.returncode is None:
            raise BuildError(
                error.message, hint="check that paths.logs has room and that unshare is installed"
            ) from error
        reasons = failure_lines(context.log_file)
        if lost := settings_lost(reasons):
            raise BuildError(
                f"the build's settings did not reach the chroot: {lost}",
                hint="an element of build.elements changes or drops them; see"
                f" {context.reported_log}",
            ) from error
        shown = "\n".join(f"  {line}" for line in reasons)
        raise BuildError(
            f"disk-image-create failed{where}:\n{shown}\nall of its output is in"
            f" {context.reported_log}",
            hint="see the log for the lines before these",
        ) from error
    keep_packages(archives, kept, lent)


def _finish(context: _BuildContext, source_disk: StockDisk) -> BuiltImage:
    raw = context.paths.result
    if not raw.exists():
        raise BuildError(
            "disk-image-create succeeded without an image",
            hint=f"its output is in {context.reported_log}",
        )
    virtual_size = raw.stat().st_size
    min_disk = -(-virtual_size // GIBIBYTE)
    _check_space(source_disk, context.settings, raw, min_disk)
    context.progress("writing the image", 0.86)
    if context.settings.format == "raw":
        shutil.move(raw, context.part)
    else:
        _compress(raw, context.part, context.settings)
    context.progress("computing the checksum", 0.97)
    digest = sha512_of(context.part)
    manifest = _keep_manifest(context)
    evidence = _keep_evidence(context)
    context.part.replace(context.result)
    return BuiltImage(
        path=context.result,
        disk_format=context.settings.format,
        size=context.result.stat().st_size,
        virtual_size=virtual_size,
        min_disk=min_disk,
        sha512=digest,
        manifest=manifest,
        evidence=evidence,
    )


def _check_space(source_disk: StockDisk, settings: BuildSettings, raw: Path, min_disk: int) -> None:
    if settings.max_disk is not None and min_disk > settings.max_disk:
        raise BuildError(
            f"the image needs a disk of {min_disk} GiB, and the amphora flavor has"
            f" {settings.max_disk} GiB",
            hint="lower build.free_space, remove packages, or use a larger flavor and raise"
            " build.max_disk",
        )
    available = ext4.superblock(raw, source_disk.root.partition.offset).available // MEBIBYTE
    if available < settings.free_space:
        raise BuildError(
            f"the image has {available} MiB free instead of {settings.free_space} MiB",
            hint="an element writes too much in finalise.d: let it write in install.d, or raise"
            " build.free_space",
        )


def _compress(raw: Path, target: Path, settings: BuildSettings) -> None:
    try:
        qemu_img.convert(raw, "raw", target, "qcow2", *COMPRESSED[settings.compression])
    except process.CommandError as error:
        raise BuildError(
            f"cannot write {target}: {error}", hint="check that paths.work has space for it"
        ) from error


def _keep_manifest(context: _BuildContext) -> Path | None:
    if not context.paths.manifest.exists():
        return None
    kept = context.log_file.with_suffix(".manifest")
    shutil.copyfile(context.paths.manifest, kept)
    return kept


def _keep_evidence(context: _BuildContext) -> Path | None:
    """Move what the elements left for apt beside the result; an older element left none."""
    if not context.paths.evidence.exists():
        return None
    kept = context.result.with_name("evidence.tar")
    shutil.move(context.paths.evidence, kept)
    return kept
