"""Settings of `[metrics]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from retrofit.config.files import AbsolutePath
from retrofit.config.section import Section


def _a_textfile(path: Path) -> Path:
    # node_exporter's textfile collector reads no other names.
    if path.suffix != ".prom":
        raise ValueError("expected an absolute path that ends with .prom")
    return path


class MetricsSettings(Section):
    """Metrics without the worker."""

    textfile: Annotated[AbsolutePath, AfterValidator(_a_textfile)] | None = Field(
        None,
        description="File to which `run-once` writes metrics for node_exporter's textfile"
        " collector, such as `/var/lib/prometheus/node-exporter/retrofit.prom`.",
    )
