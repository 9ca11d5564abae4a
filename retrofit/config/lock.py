"""Settings of `[lock]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from retrofit.config.addresses import ESCAPE, parsed, require_host
from retrofit.config.numbers import Flag, Within
from retrofit.config.section import Section, Word

SHARED_BY = ("redis", "etcd3+http", "etcd3+https", "zookeeper", "kazoo")
"""tooz drivers that can ask whether a lock is still ours (retrofit/lock/drivers.py)."""
ZOOKEEPER = frozenset({"zookeeper", "kazoo"})
DATABASES = frozenset({"mysql", "mariadb", "postgresql", "postgres"})
"""Schemes of lock servers that 0.1.0 had besides, and their variants. MySQL's GET_LOCK
excludes nobody on the other nodes of a Galera cluster; tooz cannot ask PostgreSQL whose a lock is.
"""


def _a_lock_server(url: str) -> str:
    scheme = url.partition("://")[0].lower()
    if scheme.partition("+")[0] in DATABASES:
        raise ValueError(
            f"locks in a database ({scheme}://) were removed in 0.2; use Redis (redis://), etcd"
            " (etcd3+http://) or ZooKeeper (zookeeper://). To move: stop retrofit on all machines,"
            " change lock.url on all of them, then start it again; machines with different lock"
            " servers do not exclude each other"
        )
    if scheme not in SHARED_BY:
        raise ValueError(f"the URL must begin with one of {', '.join(SHARED_BY)}")
    # ZooKeeper's address names its servers, separated by commas: each is one by itself.
    before, _, servers = url.rpartition("@")
    ensemble, slash, path = servers.removeprefix(f"{scheme}://").partition("/")
    beginning = f"{before}@" if before else f"{scheme}://"
    separate = ensemble.split(",") if scheme in ZOOKEEPER else [ensemble]
    for server in separate:
        parts = parsed(f"{beginning}{server}{slash}{path}", example="redis://host:6379")
        require_host(parts)
        if parts.fragment or "#" in url:
            raise ValueError(f"expected a URL without #: {ESCAPE}")
    return url


class LockSettings(Section):
    """Settings of the lock that keeps two runs of one target from running at once."""

    url: Annotated[Word, AfterValidator(_a_lock_server)] | None = Field(
        None,
        description="Lock server that several machines share, as tooz writes its address:"
        " `redis://HOST:6379`, `etcd3+http://HOST:2379`, `zookeeper://HOST:2181`. Without it"
        " a file lock under `paths.state`, for this machine alone.",
    )
    exclude_0_1: Flag = Field(
        True,
        description="Also hold the lock that 0.1.0 has for a target of this name, so that machines"
        " of both versions exclude each other. That name has no cloud in it: targets of one name in"
        " two clouds wait for each other. Turn it off once no machine runs 0.1.0; gone in 0.3.",
    )
    lease: Annotated[int, Within(6, 3600)] = Field(
        30,
        description="Seconds after which another machine can take over the lock of one that died or"
        " lost its network.",
    )
