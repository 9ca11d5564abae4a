"""Which lock servers the configuration accepts, and what it answers to those of 0.1.0."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.config.file import load
from retrofit.errors import ConfigError


def with_lock(tmp_path: Path, url: str) -> Path:
    path = tmp_path / "retrofit.toml"
    path.write_text(f'[lock]\nurl = "{url}"\n')
    return path


@pytest.mark.parametrize("scheme", ["redis", "etcd3+http", "etcd3+https", "zookeeper", "kazoo"])
def test_accepts_the_servers_whose_locks_can_be_proved(tmp_path: Path, scheme: str) -> None:
    assert load(with_lock(tmp_path, f"{scheme}://host:1")).lock.url == f"{scheme}://host:1"


@pytest.mark.parametrize(
    "scheme", ["mysql", "mysql+pymysql", "mariadb", "postgresql", "postgres", "postgresql+psycopg2"]
)
def test_refuses_a_database_with_the_way_to_another_server(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(with_lock(tmp_path, f"{scheme}://retrofit:planted-password@db/retrofit"))
    message = refused.value.message
    assert message.index("lock.url: ") < message.index(f"({scheme}://)")
    steps = ["Redis", "etcd", "ZooKeeper", "stop retrofit on all machines", "change lock.url",
             "start it again"]  # fmt: skip
    assert sorted(steps, key=message.index) == steps
    assert "planted-password" not in message


def test_refuses_any_other_server_by_the_list_of_those_it_knows(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must begin with one of redis, etcd3"):
        load(with_lock(tmp_path, "memcached://host:11211"))
