"""podman with a storage of its own, so that the tests leave the machine's images alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND_SECONDS = 1800.0
# podman 4 asks for higher limits than a root without CAP_SYS_RESOURCE may have, and crun for one
# hierarchy of control groups: with these it works in more places, and no test is about them.
SETTINGS = """\
[containers]
netns = "host"
default_ulimits = ["nofile={files}:{files}", "nproc=16384:16384"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""
FILES = 16384


@dataclass(frozen=True, kw_only=True)
class Podman:
    """A podman, and where it keeps everything."""

    storage: Path
    environment: Mapping[str, str]

    @property
    def prefix(self) -> list[str]:
        """The words that begin each of its commands."""
        places = {"root": self.storage / "root", "runroot": self.storage / "run"}
        return ["podman", *(f"--{name}={path}" for name, path in places.items())]

    def run(
        self, *argv: str | Path, timeout: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        return subprocess.run(
            [*self.prefix, *argv],
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def must(self, *argv: str | Path, timeout: float = COMMAND_SECONDS) -> str:
        """Run a command that has to succeed, and return what it printed."""
        done = self.run(*argv, timeout=timeout)
        assert done.returncode == 0, f"{argv}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout.strip()


@contextmanager
def podman(storage: Path) -> Iterator[Podman]:
    """Have one with an empty storage in a directory, which is gone afterwards."""
    storage.mkdir()
    settings = storage / "containers.conf"
    settings.write_text(SETTINGS.format(files=FILES))
    environment = {**os.environ, "CONTAINERS_CONF": str(settings)}
    made = Podman(storage=storage, environment=environment)
    try:
        yield made
    finally:
        made.run("rm", "--all", "--force", "--time", "0", "--volumes")
        # Its overlay driver leaves a mount of the directory over itself.
        subprocess.run(
            ["umount", "--recursive", storage / "root" / "overlay"],
            capture_output=True,
            check=False,
        )
        shutil.rmtree(storage)
