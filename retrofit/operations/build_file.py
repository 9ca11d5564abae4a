"""Retrofit a file into a file, without any cloud."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from retrofit import disk
from retrofit.build.build import build
from retrofit.build.recipe import recipe_for
from retrofit.build.request import BuildRequest
from retrofit.build.work_directory import remove_leftovers, work_directory
from retrofit.config import Settings, Target
from retrofit.errors import BuildError, ConfigError
from retrofit.model import BuiltImage
from retrofit.produce.preflight.machine import check_abilities
from retrofit.runs.own_paths import claim_paths
from retrofit.system.progress import Progress
from retrofit.system.resource_errors import resource_errors_as
from retrofit.system.untrusted_files import copy_in, move_out

log = structlog.get_logger(__name__)


@resource_errors_as(BuildError, "build the image")
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
    # Checked again on our own copy, which cannot change: this saves making one in vain.
    disk.source_format(source)
    name = f"build-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    check_abilities()
    claim_paths(settings.paths, "work", "cache")
    root = settings.paths.work / "files"
    remove_leftovers(root)
    with work_directory(root, name) as work_dir:
        given, log_file = work_dir / "source", work_dir / "build.log"
        kept_log = output.with_name(f"{output.name}.log")
        copy_in(source, given)
        try:
            built = build(
                BuildRequest(
                    source=given,
                    recipe=recipe_for(target.build),
                    settings=target.build,
                    work_dir=work_dir,
                    cache_dir=settings.paths.cache,
                    log_file=log_file,
                    reported_log=kept_log,
                    allow_os_mismatch=True,
                    architecture=target.source.architecture,
                    progress=progress,
                )
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
            move_out(built.manifest, manifest)
        move_out(built.path, output)
    except OSError as error:
        raise BuildError(
            f"cannot write {output}: {error.strerror}", hint="is there space for it?"
        ) from error
    return replace(built, path=output, manifest=manifest)


def _keep_log(log_file: Path, kept: Path) -> None:
    try:
        move_out(log_file, kept)
    except OSError as error:  # why there is a log matters more
        log.warning("log not kept", path=str(kept), error=str(error))
