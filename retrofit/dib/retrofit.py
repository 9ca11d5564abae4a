"""Source + recipe -> amphora image file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

import structlog

from retrofit import disk, process
from retrofit.config import BuildSettings
from retrofit.dib import preflight
from retrofit.dib.build_log import PhaseReader, lines_that_matter
from retrofit.dib.plan import MEBIBYTE, BuildPaths, plan_build, supervised
from retrofit.dib.recipe import Recipe
from retrofit.dib.work_directory import BUILD, clear, uninterrupted
from retrofit.disk import ext4
from retrofit.errors import BuildError, SourceError
from retrofit.model import DEBIAN_ARCHITECTURES, BuiltImage
from retrofit.progress import Progress, silent

log = structlog.get_logger(__name__)

GIBIBYTE = 1024**3
CONVERT_TIMEOUT = 1800.0
# Measured on a 2.2 GiB disk: without -W (writes in any order) zstd takes five times as long.
CONVERT = ("qemu-img", "convert", "-W", "-m", "16")
COMPRESSED = {
    "zstd": ("-c", "-o", "compression_type=zstd,cluster_size=256k"),
    "zlib": ("-c", "-o", "compression_type=zlib"),
}
CHUNK = 4 * MEBIBYTE


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
    output: Path | None = None,
    progress: Progress = silent,
) -> BuiltImage:
    """Retrofit the image file `source`; the result is `output`, or a file in `work_dir`.

    `source_format` is what the record says, `qcow2` or `raw`; what the file is must agree.
    `expected_os` is distribution and version, `("ubuntu", "24.04")`; `architecture` is Glance's.
    Output of the build's programs is appended to `log_file`.
    However this ends, no mount, loop device or temporary file remains.
    Raises SourceError for a source that cannot be used, BuildError for everything else.
    """
    began = time.monotonic()
    progress("examining the source", 0.0)
    found_format = disk.source_format(source)
    if source_format not in (None, found_format):
        raise SourceError(
            f"source {source} is {found_format}, but its record says {source_format}",
            hint="choose another source, or correct the record",
        )
    result = output or work_dir / f"amphora.{settings.format}"
    paths = BuildPaths(
        directory=work_dir.absolute() / BUILD,
        cache=cache_dir.absolute(),
        tools=Path(sys.executable).parent,
    )
    preflight.check_tools(paths.tools)
    preflight.check_privilege()
    _make_directories(paths, log_file, result)
    try:
        data_size = _data_size(source, found_format)
        needs = preflight.needs_for(source=data_size, output_copy=settings.format == "qcow2")
        tmpfs = preflight.choose_tmpfs(needs, wanted=settings.tmpfs)
        preflight.check_disk_space(
            paths.directory, needs.disk if tmpfs else needs.disk + needs.tmpfs
        )
        progress("copying the source's disk", 0.02)
        _convert(source, found_format, paths.disk, "raw")
        progress("examining the source", 0.06)
        stock = disk.inspect(paths.disk)
        if expected_os is not None:
            disk.check_os(stock.os, *expected_os, allow_mismatch=allow_os_mismatch)
        log.info("retrofit started", os=str(stock.os), tmpfs=tmpfs, log_file=str(log_file))
        _run(stock, recipe, settings, paths, log_file, architecture, progress, tmpfs=tmpfs)
        image = _finish(stock, settings, paths, result, log_file, progress)
    except BaseException:
        result.with_name(f"{result.name}.part").unlink(missing_ok=True)
        raise
    finally:
        progress("cleaning up", None)
        with uninterrupted():
            clear(paths.directory)
    progress("built", 1.0)
    log.info("retrofit finished", seconds=round(time.monotonic() - began), size=image.size)
    return image


def _make_directories(paths: BuildPaths, log_file: Path, result: Path) -> None:
    if paths.directory.exists():
        raise BuildError(
            f"{paths.directory} is in use by another build",
            hint="every build needs a work directory of its own",
        )
    try:
        for directory in (
            *(paths.directory, paths.temporary, paths.home),
            *(paths.cache / "dib", paths.cache / "lockfiles"),
            *(log_file.parent, result.parent),
        ):
            directory.mkdir(parents=True, exist_ok=True)
        log_file.touch()
    except OSError as error:
        raise BuildError(
            f"cannot make {error.filename}: {error.strerror}",
            hint="paths.work, paths.cache and paths.logs must be writable",
        ) from error


def _data_size(source: Path, file_format: str) -> int:
    """Return how many bytes a raw copy of the source takes on a filesystem with sparse files."""
    if file_format == "raw":
        return source.stat().st_blocks * 512
    said = _qemu_img("measure", "-f", file_format, "-O", "raw", "--output=json", str(source))
    return int(json.loads(said)["required"])


def _qemu_img(*argv: str) -> str:
    try:
        return process.run(["qemu-img", *argv], timeout=60).stdout
    except process.CommandError as error:
        raise SourceError(
            f"qemu-img cannot read the source: {error}",
            hint="take the image from its publisher once more",
        ) from error


def _convert(source: Path, source_format: str, target: Path, target_format: str) -> None:
    formats = ("-f", source_format, "-O", target_format)
    try:
        process.run([*CONVERT, *formats, source, target], timeout=CONVERT_TIMEOUT)
    except process.CommandError as error:
        raise SourceError(
            f"cannot copy the source's disk: {error}",
            hint="take the image from its publisher once more",
        ) from error


def _run(
    stock: disk.StockDisk,
    recipe: Recipe,
    settings: BuildSettings,
    paths: BuildPaths,
    log_file: Path,
    architecture: str,
    progress: Progress,
    *,
    tmpfs: bool,
) -> None:
    debian = DEBIAN_ARCHITECTURES[architecture]
    plan = plan_build(stock, recipe, settings, paths, architecture=debian, tmpfs=tmpfs)
    reader = PhaseReader(progress, begin=0.08, end=0.85)
    try:
        process.run_logged(
            supervised(plan, paths, root=os.geteuid() == 0),
            log_file=log_file,
            timeout=settings.timeout,
            env=plan.environment,
            cwd=paths.directory,
            on_line=reader,
            lifeline=True,
        )
    except process.CommandError as error:
        where = f" in {reader.script}" if reader.script else ""
        if error.returncode is None:
            raise BuildError(
                f"disk-image-create did not finish within {settings.timeout} s{where};"
                f" its output is in {log_file}",
                hint="raise build.timeout, or see in the log what it waited for",
            ) from error
        said = "\n".join(f"  {line}" for line in lines_that_matter(log_file))
        raise BuildError(
            f"disk-image-create failed{where}:\n{said}\nall of its output is in {log_file}",
            hint="see what came before these lines in the log",
        ) from error


def _finish(
    stock: disk.StockDisk,
    settings: BuildSettings,
    paths: BuildPaths,
    result: Path,
    log_file: Path,
    progress: Progress,
) -> BuiltImage:
    if not paths.result.exists():
        raise BuildError(
            "disk-image-create succeeded and left no image",
            hint=f"its output is in {log_file}",
        )
    virtual_size = paths.result.stat().st_size
    min_disk = -(-virtual_size // GIBIBYTE)
    _check_space(stock, settings, paths.result, min_disk)
    progress("writing the image", 0.86)
    part = result.with_name(f"{result.name}.part")
    if settings.format == "raw":
        shutil.move(paths.result, part)
    else:
        _compress(paths.result, part, settings)
    progress("computing the checksum", 0.97)
    digest = _sha512(part)
    manifest = _keep_manifest(paths, log_file)
    part.replace(result)
    return BuiltImage(
        path=result,
        disk_format=settings.format,
        size=result.stat().st_size,
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
    options = ("-f", "raw", "-O", "qcow2", *COMPRESSED[settings.compression])
    try:
        process.run([*CONVERT, *options, raw, target], timeout=CONVERT_TIMEOUT)
    except process.CommandError as error:
        raise BuildError(
            f"cannot write {target}: {error}", hint="is there space for it?"
        ) from error


def _sha512(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def _keep_manifest(paths: BuildPaths, log_file: Path) -> Path | None:
    if not paths.manifest.exists():
        return None
    kept = log_file.with_name("manifest")
    shutil.copyfile(paths.manifest, kept)
    return kept
