"""Retrofit a file into a file, without any cloud."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from retrofit import disk
from retrofit.config import Settings, Target
from retrofit.dib import build, recipe_for
from retrofit.dib.work_directory import sweep, work_directory
from retrofit.errors import BuildError, ConfigError
from retrofit.model import BuiltImage
from retrofit.outside_files import put_out, take_in
from retrofit.places import make_places
from retrofit.progress import Progress
from retrofit.shortage import told_as

log = structlog.get_logger(__name__)


@told_as(BuildError, "build the image")
def build_file(
    source: Path, output: Path, target: Target, settings: Settings, *, progress: Progress
) -> BuiltImage:
    """Build `output` from `source` with the target's recipe.

    Raises ConfigError when `output` exists or cannot be written, SourceError and BuildError as
    the build does. The log is kept beside the output, as `<output>.log`, when the build fails.
    """
    if output.exists():
        raise ConfigError(f"{output} exists", hint="name another file, or remove it first")
    if not output.parent.is_dir():
        raise ConfigError(f"{output.parent} is not a directory", hint="create it first")
    # What is built from is asked once more, when nobody can change it: this saves a copy of it.
    disk.source_format(source)
    name = f"build-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    make_places(settings.paths.work, settings.paths.cache)
    root = settings.paths.work / "files"
    sweep(root)
    with work_directory(root, name) as work_dir:
        given, log_file = work_dir / "source", work_dir / "build.log"
        kept_log = output.with_name(f"{output.name}.log")
        take_in(source, given)
        try:
            built = build(
                given,
                recipe=recipe_for(target.build),
                settings=target.build,
                work_dir=work_dir,
                cache_dir=settings.paths.cache,
                log_file=log_file,
                told_log=kept_log,
                allow_os_mismatch=True,
                architecture=target.source.architecture,
                progress=progress,
            )
        except BaseException:
            if log_file.exists():
                _keep_log(log_file, kept_log)
            raise
        return _put_out(built, output)


def _put_out(built: BuiltImage, output: Path) -> BuiltImage:
    manifest = None
    try:
        if built.manifest is not None:
            manifest = output.with_name(f"{output.name}.manifest")
            put_out(built.manifest, manifest)
        put_out(built.path, output)
    except OSError as error:
        raise BuildError(
            f"cannot write {output}: {error.strerror}", hint="is there space for it?"
        ) from error
    return replace(built, path=output, manifest=manifest)


def _keep_log(log_file: Path, kept: Path) -> None:
    try:
        put_out(log_file, kept)
    except OSError as error:  # why there is a log matters more
        log.warning("log not kept", path=str(kept), error=str(error))
