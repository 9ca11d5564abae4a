"""Settings of `[paths]`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from retrofit.config.section import Section


class PathSettings(Section):
    """Where things are kept on this machine; all of it may be deleted between runs."""

    state: Path = Field(Path("/var/lib/retrofit"), description="Lock files.")
    cache: Path = Field(Path("/var/cache/retrofit"), description="Downloaded packages and sources.")
    work: Path = Field(
        Path("/var/lib/retrofit/work"),
        description="Disks being built; needs about 10 GiB. Emptied of what dead runs left.",
    )
    logs: Path = Field(Path("/var/log/retrofit"), description="A directory of logs for each run.")
    keep_logs: int = Field(50, ge=1, description="Runs whose logs are kept.")
