"""Settings of `[metrics]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from retrofit.config.section import Section


def _a_textfile(path: Path) -> Path:
    # node_exporter's textfile collector reads no other names.
    if not path.is_absolute() or path.suffix != ".prom":
        raise ValueError("expected an absolute path that ends with .prom")
    return path


class MetricsSettings(Section):
    """Metrics for those who do not ask the worker."""

    textfile: Annotated[Path, AfterValidator(_a_textfile)] | None = Field(
        None,
        description="File that `run-once` writes metrics to, for node_exporter's textfile"
        " collector, such as `/var/lib/prometheus/node-exporter/retrofit.prom`.",
    )
