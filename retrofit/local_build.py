"""Retrofit a file into a file, without any cloud."""

from __future__ import annotations

import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from retrofit.config import Settings, Target
from retrofit.dib import build, recipe_for
from retrofit.errors import BuildError, ConfigError
from retrofit.model import BuiltImage
from retrofit.progress import Progress


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
    name = f"build-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    work_dir = settings.paths.work / "files" / name
    log_file = output.with_name(output.name + ".log")
    try:
        work_dir.mkdir(parents=True)
    except OSError as error:
        raise BuildError(
            f"cannot prepare {work_dir}: {error.strerror}", hint="run as root, or set paths.work"
        ) from error
    try:
        built = build(
            source,
            source_format=None,
            recipe=recipe_for(target.build),
            settings=target.build,
            work_dir=work_dir / "build",
            cache_dir=settings.paths.cache,
            log_file=log_file,
            expected_os=None,
            allow_os_mismatch=True,
            architecture=target.source.architecture,
            progress=progress,
        )
        shutil.move(built.path, output)
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)
    log_file.unlink(missing_ok=True)
    return BuiltImage(
        path=output,
        disk_format=built.disk_format,
        size=built.size,
        virtual_size=built.virtual_size,
        min_disk=built.min_disk,
        sha512=built.sha512,
    )
