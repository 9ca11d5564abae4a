"""Metrics as a file for node_exporter's textfile collector."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from retrofit.errors import ConfigError
from retrofit.status.metrics import exposition
from retrofit.status.models import StatusDocument


def write_textfile(document: StatusDocument, path: Path) -> None:
    """Write the metrics so that a reader finds all or nothing of them. Raises ConfigError."""
    try:
        # A new file, of a name that cannot be guessed: the directory may be another user's, and a
        # link that waits there would lead our writing to any file of this machine. node_exporter
        # reads *.prom alone, and never sees this one.
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(exposition(document))
                os.fchmod(file.fileno(), 0o644)  # node_exporter is another user
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}",
            hint="make its directory, or set metrics.textfile",
        ) from error
