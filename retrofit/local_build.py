"""Retrofit a file into a file, without any cloud."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from retrofit.config import Settings, Target
from retrofit.dib import build, recipe_for
from retrofit.dib.work_directory import sweep, work_directory
from retrofit.errors import ConfigError
from retrofit.model import BuiltImage
from retrofit.places import make_places
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
    make_places(settings.paths.work, settings.paths.cache)
    root = settings.paths.work / "files"
    sweep(root)
    log_file = output.with_name(output.name + ".log")
    with work_directory(root, name) as work_dir:
        built = build(
            source,
            recipe=recipe_for(target.build),
            settings=target.build,
            work_dir=work_dir / "build",
            cache_dir=settings.paths.cache,
            log_file=log_file,
            allow_os_mismatch=True,
            architecture=target.source.architecture,
            output=output,
            progress=progress,
        )
    log_file.unlink(missing_ok=True)
    return built
