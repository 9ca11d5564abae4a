"""Where things of the development cloud lie in a checkout."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
CACHE = CHECKOUT / ".cache"
SERVER_ENVIRONMENT = CHECKOUT / ".venv-devcloud"


class DevcloudError(Exception):
    """The development cloud cannot do what was asked; the message says why."""


def spare_loopback_from_proxies() -> None:
    """Have this process, and those it starts, reach 127.0.0.1 without a proxy."""
    for name in ("no_proxy", "NO_PROXY"):
        spared = [each for each in os.environ.get(name, "").split(",") if each]
        os.environ[name] = ",".join(dict.fromkeys([*spared, "127.0.0.1", "localhost"]))


def server_program(name: str) -> Path:
    """The path of a program in the servers' own environment; raises DevcloudError without it."""
    program = SERVER_ENVIRONMENT / "bin" / name
    if not program.exists():
        raise DevcloudError(f"{program} does not exist: run `make .venv-devcloud` first")
    return program


def digest_of(files: Iterable[Path]) -> str:
    """Twelve hexadecimal digits that change when one of the files does."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, which is made, for the length of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
