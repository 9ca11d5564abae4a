"""Settings of `[lock]`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from retrofit.config.section import Section, Word

SHARED_BY = (
    "redis", "etcd3+http", "etcd3+https", "zookeeper", "kazoo", "mysql", "postgresql",
)  # fmt: skip
"""tooz drivers whose hold on a lock can be proved (retrofit/lock_proof.py)."""


def _a_lock_server(url: str) -> str:
    scheme = urlsplit(url).scheme
    if scheme not in SHARED_BY:
        raise ValueError(f"the URL must begin with one of {', '.join(SHARED_BY)}")
    return url


class LockSettings(Section):
    """What keeps two runs of one target apart."""

    url: Annotated[Word, AfterValidator(_a_lock_server)] | None = Field(
        None,
        description="Lock server that several machines share, as tooz writes its address:"
        " `redis://HOST:6379`, `etcd3+http://HOST:2379`, `zookeeper://HOST:2181`, `mysql://...`,"
        " `postgresql://...`. Without it a file lock under `paths.state`, for this machine alone.",
    )
    lease: int = Field(
        30,
        ge=6,
        le=3600,
        description="Seconds until the lock of a machine that died or was cut off is free for"
        " another one.",
    )
