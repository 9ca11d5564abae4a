"""Download a source, and compare its bytes with what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog

from retrofit.cloud import Glance
from retrofit.config import MirrorSettings
from retrofit.errors import SourceError
from retrofit.model import Source
from retrofit.simplestreams import Mirror
from retrofit.source.trust import Provenance, require_same
from retrofit.system.progress import Progress

log = structlog.get_logger(__name__)


def fetch(
    source: Source,
    provenance: Provenance,
    path: Path,
    *,
    glance: Glance,
    mirror: MirrorSettings,
    cache: Path,
    progress: Progress,
) -> Mapping[str, str]:
    """Write a source's bytes to `path` and return their digests, computed as they arrived.

    Raises SourceError, and then there is nothing at `path`.
    """
    if source.image is not None:
        digests = glance.download(source.image, path, progress)
    elif source.item is not None:
        digests = Mirror(mirror, cache).fetch(source.item, path, progress)
    else:
        raise ValueError("a source is an image or an item")
    hashes = digests.hex()
    try:
        require_same(source, provenance, hashes=hashes, size=digests.size)
    except SourceError:
        path.unlink()
        raise
    log.info("source fetched", source=source.id, trust=provenance.level, sha256=hashes["sha256"])
    return hashes
